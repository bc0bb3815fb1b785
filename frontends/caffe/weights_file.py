"""A caffemodel: the blobs of each layer by the layer's name, as arrays over the file's own bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError, Message

from stepwell.dialects.numpy_types import Array
from stepwell.frontends.caffe.schema import messages
from stepwell.runtime.errors import ModelError

Blobs = Mapping[str, Sequence[Array]]
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}
"""NVIDIA's branch stores arrays with their type: double, float, half."""


def read_caffemodel(path: str | Path) -> Blobs:
    """Arrays by layer name, in any of the three syntaxes, f64 as f32. ModelError for a file that is missing, cut off or foreign."""
    where = str(path)
    network = messages()["NetParameter"]()
    try:
        data = Path(path).read_bytes()
        network.ParseFromString(data)
    except OSError as error:
        raise ModelError(f"cannot read the weights: {error.strerror or error}", where=where) from None
    except DecodeError:
        raise ModelError("not a caffemodel: the bytes are no NetParameter, or are cut off", where=where) from None
    del data
    if not network.layer and not network.layers:
        raise ModelError("not a caffemodel: it holds no layers", where=where)
    found: dict[str, list[Array]] = {}
    for layer in (*network.layer, *network.layers):
        holder = layer.layer if layer.DESCRIPTOR.name == "V1LayerParameter" and layer.HasField("layer") else layer
        if holder.blobs:
            found[holder.name] = [_array(blob, f"{where}: layer {holder.name!r}") for blob in holder.blobs]
            holder.ClearField("blobs")
    return found


def _array(blob: Message, where: str) -> Array:
    values = _values(blob, where)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
    if any(extent < 0 for extent in shape) or prod(shape) != values.size:
        raise ModelError(
            f"a blob of shape {list(shape)} holds {values.size} numbers", where=where, hint="the file is damaged"
        )
    return values.reshape(shape)


def _values(blob: Message, where: str) -> Array:
    if blob.HasField("raw_data"):
        kind = _RAW_TYPES.get(blob.raw_data_type)
        if kind is None:
            raise ModelError(f"a blob holds raw data of type {blob.raw_data_type}, which is not known", where=where)
        return _from_bytes([blob.raw_data], kind, where)
    if blob.double_data:
        return _from_bytes(blob.double_data, "<f8", where)
    return _from_bytes(blob.data, "<f4", where)


def _from_bytes(chunks: Sequence[bytes], kind: str, where: str) -> Array:
    """The numbers of a packed field, which a writer may have cut into chunks."""
    data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if len(data) % np.dtype(kind).itemsize:
        raise ModelError(f"a blob holds {len(data)} bytes, which is no whole number of elements", where=where)
    return np.frombuffer(data, kind).astype(np.float32, copy=False)
