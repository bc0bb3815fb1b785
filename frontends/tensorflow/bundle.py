"""A checkpoint's tensor bundle: an index (LevelDB's table format, blocks maybe compressed by Snappy) of where each tensor lies in the data files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
from google.protobuf.message import Message

from stepwell.dialects.numpy_types import Array
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.files import parse_message, read_file
from stepwell.frontends.tensorflow.schema import messages
from stepwell.frontends.tensorflow.tensor import dtype_of, shape_of_proto
from stepwell.runtime.errors import ModelError

MAGIC = 0xDB4775248B80FB57
LARGEST_BLOCK = 1 << 26
"""Most bytes of a block of the index."""
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"


class Bundle:
    """The tensors of `variables/variables.*`; ModelError where the files are damaged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        index = folder / "variables.index"
        try:
            entries = {key.decode(): value for key, value in _table(read_file(index, "the variables"))}
        except (ValueError, IndexError, struct.error) as error:
            raise ModelError(f"the index of the variables is damaged: {error}", where=str(index)) from None
        header = parse_message(messages()["BundleHeaderProto"], entries.pop("", b""), "a bundle's header", str(index))
        self._entries = {
            key: parse_message(messages()["BundleEntryProto"], value, f"an entry ({key!r})", str(index))
            for key, value in entries.items()
        }
        if header.endianness:
            raise ModelError(
                "its numbers are stored with the highest byte first: only the lowest first is read", where=str(index)
            )
        self._shards = header.num_shards
        self._keys = self._checkpoint_keys()

    def array(self, name: str) -> Array:
        """The value of a variable by its name; Unsupported where it is not there or does not fit."""
        entry = self._entry(self._keys.get(name, name))
        dtype, shape = dtype_of(entry.dtype), shape_of_proto(entry.shape) or ()
        if entry.slices:
            raise Unsupported(f"variable {name!r} is stored in {len(entry.slices)} slices: save it whole")
        if any(extent < 0 for extent in shape) or entry.size != prod(shape) * dtype.itemsize:
            raise Unsupported(f"variable {name!r} has {entry.size} bytes for {list(shape)} of {dtype}")
        return np.frombuffer(self._bytes(entry), dtype).reshape(shape)

    def _entry(self, key: str) -> Message:
        if key not in self._entries:
            raise Unsupported(f"the checkpoint has no variable {key!r}: it has {', '.join(sorted(self._entries)[:8])}")
        return self._entries[key]

    def _bytes(self, entry: Message) -> bytes:
        path = self._folder / f"variables.data-{entry.shard_id:05}-of-{self._shards:05}"
        try:
            with path.open("rb") as file:
                room = path.stat().st_size - entry.offset
                if entry.offset < 0 or not 0 <= entry.size <= room:
                    raise Unsupported(f"{path.name} ends before byte {entry.offset + entry.size}")
                file.seek(entry.offset)
                return file.read(entry.size)
        except OSError as error:
            raise Unsupported(f"cannot read {path.name}: {error.strerror or error}") from None

    def _checkpoint_keys(self) -> dict[str, str]:
        """Variables by name -> keys, from the object graph that TensorFlow 2 stores as a tensor of one string."""
        if OBJECTS not in self._entries:
            return {}
        try:
            data = self._bytes(self._entries[OBJECTS])
            length, at = _varint(data, 0)
            held, where = data[at + 4 : at + 4 + length], str(self._folder)
            objects = parse_message(messages()["TrackableObjectGraph"], held, "an object graph", where)
            return {a.full_name: a.checkpoint_key for node in objects.nodes for a in node.attributes}
        except (Unsupported, IndexError, ValueError) as error:
            raise ModelError(f"the object graph is damaged: {error}", where=str(self._folder)) from None


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table; ValueError, IndexError or struct.error where it is none."""
    if len(data) < 48 or struct.unpack_from("<Q", data, len(data) - 8)[0] != MAGIC:
        raise ValueError(f"it does not end as a table does, at byte {len(data)}")
    try:
        _, at = _handle(data, len(data) - 48)
        (offset, size), _ = _handle(data, at)
        blocks = [_handle(value, 0)[0] for _, value in _block_entries(data, offset, size)]
    except IndexError:
        raise ValueError(f"its footer at byte {len(data) - 48} does not say where blocks are") from None
    for start, length in blocks:
        yield from _block_entries(data, start, length)


def _block_entries(data: bytes, offset: int, size: int) -> list[tuple[bytes, bytes]]:
    """The entries of the block at `offset`, which errors name."""
    try:
        return list(_entries(_block(data, offset, size)))
    except (ValueError, IndexError, struct.error) as error:
        raise ValueError(f"the block at byte {offset} of {len(data)}: {error}") from None


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    begin, value = at, 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError(f"the number at byte {begin} has more than ten bytes")


def _block(data: bytes, offset: int, size: int) -> bytes:
    if offset + size + 5 > len(data):
        raise ValueError(f"a block ends behind byte {len(data)}")
    content, kind = data[offset : offset + size], data[offset + size]
    if kind > 1:
        raise ValueError(f"a block is compressed in the unknown way {kind}")
    return unpacked(content) if kind else content


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A key says how much of the one before it begins with."""
    restarts = struct.unpack_from("<I", block, len(block) - 4)[0]
    end, at, key = len(block) - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        size, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        yield key, block[at + fresh : at + fresh + size]
        at += fresh + size


def unpacked(data: bytes) -> bytes:
    """What Snappy packed: literals, and copies of what is there already."""
    wanted, at = _varint(data, 0)
    if wanted > LARGEST_BLOCK:
        raise ValueError(f"a block has {wanted} bytes")
    result = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            extra = max(0, (tag >> 2) - 59)
            length = (int.from_bytes(data[at : at + extra], "little") if extra else tag >> 2) + 1
            at += extra
            result += data[at : at + length]
            at += length
            continue
        extra = (0, 1, 2, 4)[tag & 3]
        offset = int.from_bytes(data[at : at + extra], "little") | ((tag >> 5) << 8 if tag & 3 == 1 else 0)
        length = ((tag >> 2) & 7) + 4 if tag & 3 == 1 else (tag >> 2) + 1
        at += extra
        if not 0 < offset <= len(result):
            raise ValueError("a copy begins before the block")
        for _ in range(length):
            result.append(result[-offset])
    if len(result) != wanted:
        raise ValueError(f"a block has {len(result)} bytes instead of {wanted}")
    return bytes(result)
