"""Caffe networks as OpenCV reads and runs them: an independent reader (4.x; version 5 has none).

Where it is known to differ from the layers' published definitions, networks are spelled for it in other layers of the same meaning, and results brought into Caffe's form:

- Axpy is a * x + y; OpenCV 4.14 computes a * y + x. Spelled as Scale and Eltwise.
- DetectionOutput has its rows by score, and rows of zeros behind them. They are put in order.
- A `pad_h` without a `pad_w` is passed over, and the other way round; Caffe takes the other one as 0. Both are written.
- `scale_bias` and fillers of NVIDIA's BatchNorm are not known to it. Spelled as BatchNorm and Scale.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from google.protobuf.message import Message

from stepwell.dialects.numpy_types import Array
from stepwell.testing.caffe_files import Blobs, caffemodel, deploy_text


def missing() -> str:
    """Why OpenCV cannot be asked; empty where it can."""
    return "" if importlib.util.find_spec("cv2") else "opencv-python-headless is not installed: make .venv/.test"


def opencv_outputs(
    layers: Sequence[Message], blobs: Blobs, inputs: Mapping[str, Array], tops: Sequence[str]
) -> list[Array]:
    """What OpenCV computes for `tops` of the part of a network that is run. RuntimeError with OpenCV's words where it refuses it."""
    cv2 = importlib.import_module("cv2")
    held = dict(blobs)
    spelled = [one for layer in layers for one in _spelled(layer, held)]
    text = deploy_text({name: array.shape for name, array in inputs.items()}, spelled)
    model = caffemodel(held, {layer.name: layer.type for layer in spelled})
    last = {top: (layer.name, number) for layer in spelled for number, top in enumerate(layer.top)}
    try:
        net = cv2.dnn.readNetFromCaffe(*(np.frombuffer(data, np.uint8) for data in (text.encode(), model)))
        net.enableFusion(False)
        for name, array in inputs.items():
            net.setInput(array, name)
        known = set(net.getLayerNames())
        results = net.forwardAndRetrieve([last[top][0] if last[top][0] in known else top for top in tops])
    except cv2.error as error:
        raise RuntimeError(f"OpenCV: {error}") from None
    kinds = {layer.name: layer.type for layer in spelled}
    found = [(kinds[last[top][0]], result[last[top][1]]) for top, result in zip(tops, results, strict=True)]
    return [_in_order(array) if kind == "DetectionOutput" else array for kind, array in found]


def _in_order(detections: Array) -> Array:
    """Rows of a DetectionOutput by image, class and falling score, without the rows of zeros behind them."""
    rows = detections.reshape(-1, 7)
    rows = rows[rows[:, 2] > 0]
    return np.asarray(rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))].reshape(1, 1, len(rows), 7))


def _spelled(layer: Message, blobs: dict[str, Sequence[Array]]) -> Iterator[Message]:
    """The layer, or what stands for it; `blobs` change with it."""
    if layer.type == "Axpy":
        product = type(layer)(name=f"{layer.name}/product", type="Scale", top=[f"{layer.name}/product"])
        product.bottom.extend([layer.bottom[1], layer.bottom[0]])
        product.scale_param.axis = 0
        total = type(layer)(name=layer.name, type="Eltwise", top=layer.top)
        total.bottom.extend([*product.top, layer.bottom[2]])
        yield from (product, total)
    elif layer.type == "BatchNorm":
        yield from _normalised(layer, blobs)
    elif layer.type in ("Convolution", "Deconvolution"):
        yield _padded(layer)
    else:
        yield layer


def _padded(layer: Message) -> Message:
    parameters = layer.convolution_param
    if parameters.HasField("pad_h") == parameters.HasField("pad_w"):
        return layer
    whole = type(layer)()
    whole.CopyFrom(layer)
    whole.convolution_param.pad_h, whole.convolution_param.pad_w = parameters.pad_h, parameters.pad_w
    return whole


def _normalised(layer: Message, blobs: dict[str, Sequence[Array]]) -> Iterator[Message]:
    plain = type(layer)()
    plain.CopyFrom(layer)
    for field in ("scale_bias", "scale_filler", "bias_filler"):
        plain.batch_norm_param.ClearField(field)
    yield plain
    if layer.batch_norm_param.scale_bias:
        scale = type(layer)(name=f"{layer.name}/scale", type="Scale", bottom=layer.top, top=layer.top)
        scale.scale_param.bias_term = True
        blobs[scale.name], blobs[layer.name] = blobs[layer.name][3:], blobs[layer.name][:3]
        yield scale
