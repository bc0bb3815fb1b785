"""The table from layer type to converter. A new layer is one function in a `convert_*` file and one line here."""

from __future__ import annotations

from stepwell.frontends.caffe import convert_activation as activation
from stepwell.frontends.caffe import convert_detection as detection
from stepwell.frontends.caffe import convert_detection_output as detection_output
from stepwell.frontends.caffe import convert_movement as movement
from stepwell.frontends.caffe import convert_product as product
from stepwell.frontends.caffe import convert_proposal as proposal
from stepwell.frontends.caffe import convert_recurrent as recurrent
from stepwell.frontends.caffe import convert_window as window

CONVERTERS: dict[str, activation.Converter] = {
    "AbsVal": activation.unary("abs"),
    "ArgMax": product.arg_max,
    "Axpy": product.axpy,
    "BNLL": activation.unary("softplus"),
    "BatchNorm": product.batch_norm,
    "BatchReindex": movement.batch_reindex,
    "Bias": product.bias,
    "Clip": activation.clip,
    "Concat": movement.concat,
    "Convolution": window.convolution,
    "ConvolutionDepthwise": window.depthwise,
    "Crop": movement.crop,
    "Deconvolution": window.deconvolution,
    "DepthwiseConvolution": window.depthwise,
    "DetectionOutput": detection_output.detection_output,
    "Dropout": activation.identity,
    "ELU": activation.elu,
    "Eltwise": product.eltwise,
    "Embed": product.embed,
    "Exp": activation.exp,
    "Filter": movement.filter,
    "Flatten": movement.flatten,
    "Im2col": window.im2col,
    "InnerProduct": product.inner_product,
    "Interp": movement.interp,
    "LRN": product.lrn,
    "LSTM": recurrent.lstm,
    "Log": activation.logarithm,
    "MVN": product.mvn,
    "Normalize": product.normalize,
    "PReLU": activation.prelu,
    "Parameter": product.parameter,
    "Permute": movement.permute,
    "Pooling": window.pooling,
    "Power": activation.power,
    "PriorBox": detection.prior_box,
    "Proposal": proposal.proposal,
    "Python": proposal.python,
    "RNN": recurrent.rnn,
    "ROIPooling": detection.roi_pooling,
    "ReLU": activation.relu,
    "ReLU6": activation.relu6,
    "Reduction": product.reduction,
    "Reshape": movement.reshape,
    "SPP": window.pyramid,
    "Scale": product.scale,
    "ShuffleChannel": movement.shuffle_channel,
    "Sigmoid": activation.unary("sigmoid"),
    "Slice": movement.slice,
    "Softmax": product.softmax,
    "Split": activation.identity,
    "Swish": activation.swish,
    "TanH": activation.unary("tanh"),
    "Threshold": activation.threshold,
    "Tile": movement.tile,
    "Upsample": movement.upsample,
}
"""Layers by type."""
