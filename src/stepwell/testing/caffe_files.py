"""Caffe's two files from their parts: the text of a network and the binary of its weights, as Caffe would write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from google.protobuf import text_format
from google.protobuf.message import Message

from stepwell.dialects.numpy_types import Array
from stepwell.frontends.caffe.schema import messages

Blobs = Mapping[str, Sequence[Array]]


def caffemodel(blobs: Blobs, types: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a caffemodel: f32 blobs of each layer by its name; `types` says of what type the layers are, for readers that ask."""
    network = messages()["NetParameter"](name="weights")
    for name, arrays in blobs.items():
        layer = network.layer.add(name=name, type=(types or {}).get(name, ""))
        for array in arrays:
            blob = layer.blobs.add(data=[np.ascontiguousarray(array, "<f4").tobytes()])
            blob.shape.dim.extend(array.shape)
    data: bytes = network.SerializeToString()
    return data


def deploy_text(inputs: Mapping[str, Sequence[int]], layers: Sequence[Message]) -> str:
    """The prototxt of the part of a network that is run, in today's syntax."""
    network = messages()["NetParameter"](input=list(inputs), layer=layers)
    for shape in inputs.values():
        network.input_shape.add(dim=shape)
    for layer in network.layer:
        for field in ("include", "exclude", "param", "loss_weight", "blobs", "phase"):
            layer.ClearField(field)
    text: str = text_format.MessageToString(network)
    return text


def blobs_of(layers: Sequence[Message], weights: Mapping[str, Array]) -> dict[str, list[Array]]:
    """The blobs of each layer from weights that are called `<layer>.<number>`. A layer that shares parameters by name has them too; a BatchNorm has the number of
    its batches, 1, as third."""
    owners: dict[str, tuple[str, int]] = {}
    found: dict[str, list[Array]] = {}
    numbers: dict[str, list[int]] = {}
    for name in weights:
        layer, _, number = name.rpartition(".")
        numbers.setdefault(layer, []).append(int(number))
    for layer in layers:
        shared = [(layer.name, number) for number in range(len(layer.param))]
        named = [owners.setdefault(p.name, own) if p.name else own for p, own in zip(layer.param, shared, strict=True)]
        own = [(layer.name, number) for number in sorted(numbers.get(layer.name, []))]
        holders = named if len(named) > len(own) else own
        held = [weights[f"{holder}.{number}"] for holder, number in holders if f"{holder}.{number}" in weights]
        if held and layer.type == "BatchNorm":
            held.insert(2, np.ones(1, np.float32))
        if held:
            found[layer.name] = held
    return found
