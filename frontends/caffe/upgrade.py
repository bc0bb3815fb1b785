"""Old syntaxes of Caffe's networks, V0 and V1 (`layers { ... }`), as today's `layer { ... }`, by the rules of Caffe's upgrade.

V1 has the same parameters under another message, an enumeration in place of the type's name, and parameter names as strings. V0 has one flat message for all
layers inside `layers { layer { ... } }`, and padding as a layer of its own."""

from __future__ import annotations

from google.protobuf.message import Message

from stepwell.frontends.caffe.schema import messages
from stepwell.runtime.errors import ModelError

V1_TYPES = {
    "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "DATA": "Data", "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData", "ELTWISE": "Eltwise", "EUCLIDEAN_LOSS": "EuclideanLoss", "EXP": "Exp",
    "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData", "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN",
    "MEMORY_DATA": "MemoryData", "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN", "NONE": "",
    "POOLING": "Pooling", "POWER": "Power", "RELU": "ReLU", "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss", "SILENCE": "Silence", "SLICE": "Slice", "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split", "TANH": "TanH", "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData",
}  # fmt: skip
V0_TYPES = {
    "accuracy": "Accuracy", "bnll": "BNLL", "concat": "Concat", "conv": "Convolution", "data": "Data", "dropout": "Dropout",
    "euclidean_loss": "EuclideanLoss", "flatten": "Flatten", "hdf5_data": "HDF5Data", "hdf5_output": "HDF5Output",
    "im2col": "Im2col", "images": "ImageData", "infogain_loss": "InfogainLoss", "innerproduct": "InnerProduct", "lrn": "LRN",
    "multinomial_logistic_loss": "MultinomialLogisticLoss", "pool": "Pooling", "relu": "ReLU", "sigmoid": "Sigmoid",
    "softmax": "Softmax", "softmax_loss": "SoftmaxWithLoss", "split": "Split", "tanh": "TanH", "window_data": "WindowData",
}  # fmt: skip
V0_FIELDS = {
    "Convolution": {"convolution_param": {"num_output": "num_output", "biasterm": "bias_term", "pad": "pad", "kernelsize": "kernel_size", "group": "group", "stride": "stride"}},
    "InnerProduct": {"inner_product_param": {"num_output": "num_output", "biasterm": "bias_term"}},
    "Pooling": {"pooling_param": {"pad": "pad", "kernelsize": "kernel_size", "stride": "stride", "pool": "pool"}},
    "Dropout": {"dropout_param": {"dropout_ratio": "dropout_ratio"}},
    "LRN": {"lrn_param": {"local_size": "local_size", "alpha": "alpha", "beta": "beta", "k": "k"}},
    "Concat": {"concat_param": {"concat_dim": "concat_dim"}},
    "Data": {"data_param": {"batchsize": "batch_size", "cropsize": "crop_size"}, "transform_param": {"cropsize": "crop_size"}},
    "ImageData": {"image_data_param": {"batchsize": "batch_size", "new_height": "new_height", "new_width": "new_width", "cropsize": "crop_size"}},
    "WindowData": {"window_data_param": {"batchsize": "batch_size", "cropsize": "crop_size"}},
    "HDF5Data": {"hdf5_data_param": {"batchsize": "batch_size"}},
}  # fmt: skip
"""For each layer the fields of V0's flat message and where they stand today."""


def upgraded_layers(network: Message, where: str) -> list[Message]:
    """The layers of a network of any syntax as LayerParameters, in order. ModelError for a file that mixes syntaxes."""
    if network.layer and network.layers:
        raise ModelError("the network mixes `layer` and `layers`", where=where, hint="write all layers in one syntax")
    if network.layer:
        return list(network.layer)
    if any(layer.HasField("layer") for layer in network.layers):
        return _from_v0(network.layers)
    return [_from_v1(layer) for layer in network.layers]


def _from_v1(old: Message) -> Message:
    new = messages()["LayerParameter"]()
    numbers = old.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number
    new.type = V1_TYPES[numbers[old.type].name]
    for name in old.param:
        new.param.add(name=name)
    for field, value in old.ListFields():
        if field.name not in ("type", "param", "layer", "blobs_lr", "weight_decay"):
            _set(new, field.name, value)
    return new


def _set(message: Message, name: str, value: object) -> None:
    """Set a field of any kind: repeated, message or scalar."""
    target = getattr(message, name)
    if hasattr(target, "MergeFrom"):
        target.MergeFrom(value)
    else:
        setattr(message, name, value)


def _from_v0(layers: list[Message]) -> list[Message]:
    """V0 layers; a padding layer goes into the convolution or pool that reads its top. A type that V0 does not have stays as it is."""
    padded: dict[str, tuple[str, int]] = {}
    made = []
    for outer in layers:
        old = outer.layer
        if old.type == "padding" and outer.top and outer.bottom:
            padded[outer.top[0]] = (outer.bottom[0], old.pad)
            continue
        new = messages()["LayerParameter"](name=old.name, type=V0_TYPES.get(old.type, old.type), top=outer.top)
        new.blobs.MergeFrom(old.blobs)
        for parameter, fields in V0_FIELDS.get(new.type, {}).items():
            _copy_flat(old, getattr(new, parameter), fields)
        for bottom in outer.bottom:
            source, pad = padded.get(bottom, (bottom, 0))
            new.bottom.append(source)
            if pad and new.type == "Convolution":
                del new.convolution_param.pad[:]
                new.convolution_param.pad.append(pad)
            elif pad:
                new.pooling_param.pad = pad
        made.append(new)
    return made


def _copy_flat(old: Message, parameter: Message, fields: dict[str, str]) -> None:
    for source, name in fields.items():
        if not old.HasField(source):
            continue
        target = getattr(parameter, name)
        if hasattr(target, "append"):
            target.append(getattr(old, source))
        else:
            setattr(parameter, name, getattr(old, source))
