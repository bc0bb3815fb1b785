"""TensorArrays as lists of values while importing: the flow, which every operator on them takes and gives, carries the list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import i32, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.node import Node

LONGEST = 1 << 16
"""Most elements of an array."""


@dataclass(frozen=True)
class TensorArray:
    """The elements that were written so far, None where none was."""

    elements: tuple[SSAValue | None, ...]


Item = SSAValue | TensorArray
Items = Sequence[Item]


def tensor(item: Item) -> SSAValue:
    """A tensor among a node's inputs; Unsupported for an array."""
    if isinstance(item, TensorArray):
        raise Unsupported("a TensorArray is read where a tensor must be")
    return item


def _flow(item: Item) -> TensorArray:
    if not isinstance(item, TensorArray):
        raise Unsupported("its flow is no TensorArray's: every operator on one must take the flow of the one before")
    return item


def _written(array: TensorArray, positions: Sequence[int], values: Sequence[SSAValue]) -> TensorArray:
    elements = list(array.elements)
    for position, value in zip(positions, values, strict=True):
        if not 0 <= position < LONGEST:
            raise Unsupported(f"position {position} is outside of 0 to {LONGEST - 1}")
        elements += [None] * (position + 1 - len(elements))
        elements[position] = value
    return TensorArray(tuple(elements))


def _read(array: TensorArray, position: int) -> SSAValue:
    value = array.elements[position] if 0 <= position < len(array.elements) else None
    if value is None:
        raise Unsupported(f"element {position} of the TensorArray was never written")
    return value


def _rows(build: GraphBuilder, value: SSAValue, ends: Sequence[int], keep: bool) -> list[SSAValue]:
    """The parts of the first dim up to each end; without `keep` parts of one row lose that dim."""
    begins = [0, *ends[:-1]]
    parts = [build.cut(value, 0, begin, end) for begin, end in zip(begins, ends, strict=True)]
    return parts if keep else [build.reshape(part, shape_of(value)[1:]) for part in parts]


def new(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorArrayV3: a handle and an empty flow."""
    (count,) = build.integers(tensor(items[0]), "the size")
    if not 0 <= count <= LONGEST:
        raise Unsupported(f"its size is {count}: 0 to {LONGEST}")
    empty = TensorArray((None,) * count)
    return [empty, empty]


def write(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorArrayWriteV3: handle, index, value, flow."""
    return [_written(_flow(items[3]), build.integers(tensor(items[1]), "the index"), [tensor(items[2])])]


def read(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorArrayReadV3: handle, index, flow."""
    return [_read(_flow(items[2]), build.integers(tensor(items[1]), "the index")[0])]


def gather(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorArrayGatherV3: handle, indices, flow: elements side by side along a new first dim."""
    array, positions = _flow(items[2]), build.integers(tensor(items[1]), "the indices")
    values = [_read(array, position) for position in positions]
    if not values:
        raise Unsupported("no element is gathered: the shape of one is not known")
    return [build.joined([build.reshape(value, [1, *shape_of(value)]) for value in values], 0)]


def scatter(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorArrayScatterV3: handle, indices, values, flow: a row for each index."""
    positions, value = build.integers(tensor(items[1]), "the indices"), tensor(items[2])
    return [_written(_flow(items[3]), positions, _rows(build, value, range(1, len(positions) + 1), keep=False))]


def size(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorArraySizeV3: handle, flow."""
    return [build.emit(graph.ConstantOp(np.asarray(len(_flow(items[1]).elements), numpy_dtype(i32))))]


def concat(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorArrayConcatV3: handle, flow: elements one after the other, and their lengths."""
    array = _flow(items[1])
    values = [_read(array, position) for position in range(len(array.elements))]
    if not values or min(len(shape_of(value)) for value in values) < 1:
        raise Unsupported("only elements with a first dim can be concatenated")
    lengths = np.array([shape_of(value)[0] for value in values], numpy_dtype(i64))
    return [build.joined(values, 0), build.weight(f"{node.name}.lengths", lengths)]


def split(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorArraySplitV3: handle, value, lengths, flow."""
    value, lengths = tensor(items[1]), build.integers(tensor(items[2]), "the lengths")
    if min(lengths, default=0) < 0 or sum(lengths) != shape_of(value)[0]:
        raise Unsupported(f"lengths {list(lengths)} do not add up to {shape_of(value)[0]}")
    ends = [int(end) for end in np.cumsum(lengths)]
    return [_written(_flow(items[3]), range(len(lengths)), _rows(build, value, ends, keep=True))]


OPERATORS: dict[str, tuple[int, Callable[[GraphBuilder, Node, Items], list[Item]]]] = {
    "TensorArrayConcatV3": (2, concat),
    "TensorArrayGatherV3": (3, gather),
    "TensorArrayReadV3": (3, read),
    "TensorArrayScatterV3": (4, scatter),
    "TensorArraySizeV3": (2, size),
    "TensorArraySplitV3": (4, split),
    "TensorArrayV3": (1, new),
    "TensorArrayWriteV3": (4, write),
}
"""Operators on TensorArrays: how many inputs they take, and the converter."""
