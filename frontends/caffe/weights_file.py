"""A caffemodel: the blobs of each layer by the layer's name, as arrays over the file's own bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np
from google.protobuf.message import Message

from stepwell.dialects.numpy_types import Array
from stepwell.frontends.caffe.schema import messages
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.files import parse_message, read_file
from stepwell.frontends.shapes import too_large
from stepwell.runtime.errors import ModelError

Blobs = Mapping[str, Sequence[Array]]
MOST_DIMS = 32
"""Caffe's own limit."""
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}
"""NVIDIA's branch stores arrays with their type: double, float, half."""


def read_caffemodel(path: str | Path) -> Blobs:
    """Arrays by layer name, in any of the three syntaxes, f64 as f32. ModelError for a file that is missing, cut off or foreign."""
    where = str(path)
    network = parse_message(messages()["NetParameter"], read_file(Path(path), "the weights"), "a caffemodel", where)
    if not network.layer and not network.layers:
        raise ModelError("not a caffemodel: it holds no layers", where=where)
    found: dict[str, list[Array]] = {}
    reasons = []
    for layer in (*network.layer, *network.layers):
        holder = layer.layer if layer.DESCRIPTOR.name == "V1LayerParameter" and layer.HasField("layer") else layer
        if not holder.blobs:
            continue
        try:
            found[holder.name] = [_array(blob) for blob in holder.blobs]
        except Unsupported as error:
            reasons.append(f"layer {holder.name!r}: {error}")
        holder.ClearField("blobs")
    if reasons:
        raise ModelError("the weights are damaged", where=where, reasons=reasons)
    return found


def _array(blob: Message) -> Array:
    values = _values(blob)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
    if any(extent < 0 for extent in shape) or prod(shape) != values.size:
        raise Unsupported(f"a blob of shape {list(shape)} holds {values.size} numbers")
    if len(shape) > MOST_DIMS:
        raise Unsupported(f"a blob has {len(shape)} dims, at most {MOST_DIMS} are supported")
    if reason := too_large(shape):
        raise Unsupported(f"a blob has {reason}")
    return values.reshape(shape)


def _values(blob: Message) -> Array:
    if blob.HasField("raw_data"):
        kind = _RAW_TYPES.get(blob.raw_data_type)
        if kind is None:
            raise Unsupported(f"a blob holds raw data of type {blob.raw_data_type}, which is not known")
        return _from_bytes([blob.raw_data], kind)
    if blob.double_data:
        return _from_bytes(blob.double_data, "<f8")
    return _from_bytes(blob.data, "<f4") if blob.data else _unpacked(blob)


def _unpacked(blob: Message) -> Array:
    """The numbers of a blob that has none in a packed field: a writer may have stored them one by one, under the same number."""
    plain = messages()["UnpackedBlobProto"].FromString(blob.SerializeToString())
    return _as_f32(np.asarray(plain.data or plain.double_data, np.float64))


def _from_bytes(chunks: Sequence[bytes], kind: str) -> Array:
    """The numbers of a packed field, which a writer may have cut into chunks."""
    data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if len(data) % np.dtype(kind).itemsize:
        raise Unsupported(f"a blob holds {len(data)} bytes, which is no whole number of elements")
    return _as_f32(np.frombuffer(data, kind))


def _as_f32(values: Array) -> Array:
    try:
        with np.errstate(over="raise", invalid="ignore"):
            return values.astype(np.float32, copy=False)
    except FloatingPointError:
        raise Unsupported("a blob holds a double that is too large for f32") from None
