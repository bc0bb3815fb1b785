"""The table from layer type to converter. A new layer is one function in a `convert_*` file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepwell.frontends.caffe import convert_activation as activation
from stepwell.frontends.caffe import convert_detection as detection
from stepwell.frontends.caffe import convert_detection_output as detection_output
from stepwell.frontends.caffe import convert_movement as movement
from stepwell.frontends.caffe import convert_product as product
from stepwell.frontends.caffe import convert_proposal as proposal
from stepwell.frontends.caffe import convert_recurrent as recurrent
from stepwell.frontends.caffe import convert_window as window

MANY = 1 << 16
"""Most bottoms of a layer that takes any number of them."""


@dataclass(frozen=True)
class Kind:
    """How layers of a type are converted: `bottoms` they have at least and at most, and the least `ranks` of the first ones."""

    convert: activation.Converter
    bottoms: tuple[int, int] = (1, 1)
    ranks: tuple[int, ...] = ()


LAYERS: Mapping[str, Kind] = {
    "AbsVal": Kind(activation.unary("abs")),
    "ArgMax": Kind(product.arg_max, ranks=(1,)),
    "Axpy": Kind(product.axpy, bottoms=(3, 3), ranks=(1, 2, 1)),
    "BNLL": Kind(activation.unary("softplus")),
    "BatchNorm": Kind(product.batch_norm),
    "BatchReindex": Kind(movement.batch_reindex, bottoms=(2, 2), ranks=(1,)),
    "Bias": Kind(product.bias, bottoms=(1, 2)),
    "Clip": Kind(activation.clip),
    "Concat": Kind(movement.concat, bottoms=(1, MANY)),
    "Convolution": Kind(window.convolution, bottoms=(1, MANY), ranks=(3,)),
    "ConvolutionDepthwise": Kind(window.depthwise, ranks=(3,)),
    "Crop": Kind(movement.crop, bottoms=(2, 2)),
    "Deconvolution": Kind(window.deconvolution, bottoms=(1, MANY), ranks=(3,)),
    "DepthwiseConvolution": Kind(window.depthwise, ranks=(3,)),
    "DetectionOutput": Kind(detection_output.detection_output, bottoms=(3, 3)),
    "Dropout": Kind(activation.identity),
    "ELU": Kind(activation.elu),
    "Eltwise": Kind(product.eltwise, bottoms=(2, MANY)),
    "Embed": Kind(product.embed),
    "Exp": Kind(activation.exp),
    "Filter": Kind(movement.filter, bottoms=(2, MANY), ranks=(1,)),
    "Flatten": Kind(movement.flatten),
    "Im2col": Kind(window.im2col, ranks=(3,)),
    "InnerProduct": Kind(product.inner_product),
    "Interp": Kind(movement.interp, bottoms=(1, 2), ranks=(4, 4)),
    "LRN": Kind(product.lrn, ranks=(2,)),
    "LSTM": Kind(recurrent.lstm, bottoms=(2, 5), ranks=(2, 2)),
    "Log": Kind(activation.logarithm),
    "MVN": Kind(product.mvn, ranks=(2,)),
    "Normalize": Kind(product.normalize, ranks=(2,)),
    "PReLU": Kind(activation.prelu, ranks=(2,)),
    "Parameter": Kind(product.parameter, bottoms=(0, 0)),
    "Permute": Kind(movement.permute),
    "Pooling": Kind(window.pooling, ranks=(4,)),
    "Power": Kind(activation.power),
    "PriorBox": Kind(detection.prior_box, bottoms=(1, 2), ranks=(4, 4)),
    "Proposal": Kind(proposal.proposal, bottoms=(3, 3)),
    "Python": Kind(proposal.python, bottoms=(3, 3)),
    "RNN": Kind(recurrent.rnn, bottoms=(2, 4), ranks=(2, 2)),
    "ROIPooling": Kind(detection.roi_pooling, bottoms=(2, 2), ranks=(4, 1)),
    "ReLU": Kind(activation.relu),
    "ReLU6": Kind(activation.relu6),
    "Reduction": Kind(product.reduction),
    "Reshape": Kind(movement.reshape),
    "SPP": Kind(window.pyramid, ranks=(4,)),
    "Scale": Kind(product.scale, bottoms=(1, 2)),
    "ShuffleChannel": Kind(movement.shuffle_channel, ranks=(2,)),
    "Sigmoid": Kind(activation.unary("sigmoid")),
    "Slice": Kind(movement.slice),
    "Softmax": Kind(product.softmax),
    "Split": Kind(activation.identity),
    "Swish": Kind(activation.swish),
    "TanH": Kind(activation.unary("tanh")),
    "Threshold": Kind(activation.threshold),
    "Tile": Kind(movement.tile),
    "Upsample": Kind(movement.upsample, bottoms=(1, 2), ranks=(4, 4)),
}
"""Layers by type."""
