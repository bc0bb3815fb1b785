"""Caffe's two files from their parts: the text of a network and the binary of its weights, as Caffe would write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from google.protobuf import text_format
from google.protobuf.message import Message

from stepwell.dialects.numpy_types import Array
from stepwell.frontends.caffe.schema import messages


def caffemodel(blobs: Mapping[str, Sequence[Array]], types: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a caffemodel: blobs of each layer by its name, `types` where they are known."""
    network = messages()["NetParameter"](name="weights")
    for name, arrays in blobs.items():
        layer = network.layer.add(name=name, type=(types or {}).get(name, ""))
        for array in arrays:
            blob = layer.blobs.add(data=[np.ascontiguousarray(array, "<f4").tobytes()])
            blob.shape.dim.extend(array.shape)
    data: bytes = network.SerializeToString()
    return data


def deploy_text(inputs: Mapping[str, Sequence[int]], layers: Sequence[Message]) -> str:
    """The prototxt of a network of today's syntax, without its training part."""
    network = messages()["NetParameter"](input=list(inputs), layer=layers)
    for shape in inputs.values():
        network.input_shape.add(dim=shape)
    for layer in network.layer:
        for field in ("include", "exclude", "param", "loss_weight", "blobs", "phase"):
            layer.ClearField(field)
    return text_format.MessageToString(network)
