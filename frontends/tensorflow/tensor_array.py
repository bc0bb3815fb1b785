"""TensorArrays and tensor lists. While importing they are lists of values, carried by the flow or the handle that every operator on them takes and gives;
where a position is not known, or a loop carries them, one tensor with an element for each index of its first dim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import TensorType, i32, i64
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.tensor import shape_of_proto

LONGEST = 1 << 16
"""Most elements of an array."""


@dataclass(frozen=True)
class TensorArray:
    """The elements that were written so far, None where none was; `element` is the type of each where the graph says it."""

    elements: tuple[SSAValue | None, ...]
    element: TensorType[Attribute] | None = None


@dataclass(frozen=True)
class Stored:
    """All elements in one tensor, zeros where none was written."""

    tensor: SSAValue


Array = TensorArray | Stored
Item = SSAValue | TensorArray | Stored
Items = Sequence[Item]


def tensor(item: Item) -> SSAValue:
    """A tensor among a node's inputs; Unsupported for an array."""
    if not isinstance(item, SSAValue):
        raise Unsupported("a TensorArray is read where a tensor must be")
    return item


def _flow(item: Item) -> Array:
    if isinstance(item, SSAValue):
        raise Unsupported("its flow is no TensorArray's: every operator on one must take the flow of the one before")
    return item


def length(array: Array) -> int:
    """How many elements there are."""
    return len(array.elements) if isinstance(array, TensorArray) else shape_of(array.tensor)[0]


def stored(build: GraphBuilder, array: Array) -> Stored:
    """The array as one tensor; Unsupported where no element says how they look."""
    if isinstance(array, Stored):
        return array
    written = [value for value in array.elements if value is not None]
    types = {value.type for value in written} or ({array.element} if array.element else set())
    if len(types) != 1 or not array.elements:
        raise Unsupported(
            "the shape of a TensorArray's elements is not known, or they differ, where its loop carries it"
        )
    (type,) = types
    assert isinstance(type, TensorType)
    row = [1, *type.get_shape()]
    zero = build.broadcast(build.emit(graph.ConstantOp(0, type.element_type)), row)
    rows = [zero if value is None else build.reshape(value, row) for value in array.elements]
    return Stored(build.joined(rows, 0))


def _position(build: GraphBuilder, index: SSAValue) -> int | None:
    """The position that an index is, None where the network's inputs or a loop decide it."""
    array = build.array(index)
    return None if array is None else int(array.reshape(-1)[0])


def _written(array: TensorArray, positions: Sequence[int], values: Sequence[SSAValue]) -> TensorArray:
    elements = list(array.elements)
    for position, value in zip(positions, values, strict=True):
        if not 0 <= position < LONGEST:
            raise Unsupported(f"position {position} is outside of 0 to {LONGEST - 1}")
        elements += [None] * (position + 1 - len(elements))
        elements[position] = value
    return TensorArray(tuple(elements), array.element)


def set_item(build: GraphBuilder, array: Array, index: SSAValue, value: SSAValue) -> Array:
    """The array with another element."""
    position = _position(build, index)
    if isinstance(array, TensorArray) and position is not None:
        return _written(array, [position], [value])
    known = TensorArray(array.elements, array.element or value.type) if isinstance(array, TensorArray) else array  # type: ignore[arg-type]
    whole = stored(build, known).tensor
    row = build.reshape(value, [1, *shape_of(value)])
    return Stored(build.emit(graph.ScatterOp(whole, build.reshape(index, [1, 1]), row, dims=[0])))


def get_item(build: GraphBuilder, array: Array, index: SSAValue) -> SSAValue:
    """One element."""
    position = _position(build, index)
    if isinstance(array, TensorArray) and position is not None:
        return _read(build, array, position)
    whole = stored(build, array).tensor
    if position is not None and 0 <= position < shape_of(whole)[0]:
        return build.reshape(build.cut(whole, 0, position, position + 1), shape_of(whole)[1:])
    row = build.emit(graph.GatherOp(whole, build.reshape(index, [1, 1]), dims=[0]))
    return build.reshape(row, shape_of(whole)[1:])


def _read(build: GraphBuilder, array: TensorArray, position: int) -> SSAValue:
    value = array.elements[position] if 0 <= position < len(array.elements) else None
    if value is not None:
        return value
    if array.element is None or not 0 <= position < len(array.elements):
        raise Unsupported(f"element {position} of the TensorArray was never written")
    zero = build.emit(graph.ConstantOp(0, array.element.element_type))
    return build.broadcast(zero, array.element.get_shape())


def rows_at(build: GraphBuilder, array: Array, indices: SSAValue) -> SSAValue:
    """Elements side by side along a new first dim."""
    known = build.array(indices)
    if known is None or isinstance(array, Stored):
        columns = build.reshape(indices, [*shape_of(indices), 1])
        return build.emit(graph.GatherOp(stored(build, array).tensor, columns, dims=[0]))
    return _stacked(build, [_read(build, array, int(position)) for position in known.reshape(-1)])


def _stacked(build: GraphBuilder, values: Sequence[SSAValue]) -> SSAValue:
    if not values:
        raise Unsupported("no element is gathered: the shape of one is not known")
    return build.joined([build.reshape(value, [1, *shape_of(value)]) for value in values], 0)


def whole(build: GraphBuilder, array: Array) -> SSAValue:
    """All elements side by side."""
    if isinstance(array, Stored):
        return array.tensor
    return _stacked(build, [_read(build, array, position) for position in range(len(array.elements))])


def with_rows(build: GraphBuilder, array: Array, indices: SSAValue, value: SSAValue) -> Array:
    """The rows of a tensor as elements, at positions."""
    known = build.array(indices)
    if known is not None and np.array_equal(known.reshape(-1), np.arange(max(length(array), shape_of(value)[0]))):
        return Stored(value)
    if known is None or isinstance(array, Stored):
        columns = build.reshape(indices, [*shape_of(indices), 1])
        return Stored(build.emit(graph.ScatterOp(stored(build, array).tensor, columns, value, dims=[0])))
    rows = _parts(build, value, range(1, known.size + 1))
    return _written(array, [int(p) for p in known.reshape(-1)], [build.reshape(r, shape_of(value)[1:]) for r in rows])


def _parts(build: GraphBuilder, value: SSAValue, ends: Sequence[int]) -> list[SSAValue]:
    """The parts of the first dim up to each end."""
    begins = [0, *ends[:-1]]
    return [build.cut(value, 0, begin, end) for begin, end in zip(begins, ends, strict=True)]


def empty(count: int, element: TensorType[Attribute] | None) -> TensorArray:
    """An array of elements that are not written."""
    if not 0 <= count <= LONGEST:
        raise Unsupported(f"its size is {count}: 0 to {LONGEST}")
    return TensorArray((None,) * count, element)


def new(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorArrayV3: a handle and an empty flow."""
    (count,) = build.integers(tensor(items[0]), "the size")
    shape = shape_of_proto(node.message("element_shape").shape) if node.has("element_shape") else None
    element = node.element("dtype") if shape is not None and min(shape, default=0) >= 0 else None
    array = empty(count, None if element is None or shape is None else TensorType(element, shape))
    return [array, array]


def concat(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorArrayConcatV3: handle, flow: elements one after the other, and their lengths."""
    array = _flow(items[1])
    values = (
        [_read(build, array, n) for n in range(length(array))]
        if isinstance(array, TensorArray)
        else [build.reshape(row, shape_of(row)[1:]) for row in _parts(build, array.tensor, range(1, length(array) + 1))]
    )
    if not values or min(len(shape_of(value)) for value in values) < 1:
        raise Unsupported("only elements with a first dim can be concatenated")
    lengths = np.array([shape_of(value)[0] for value in values], numpy_dtype(i64))
    return [build.joined(values, 0), build.weight(f"{node.name}.lengths", lengths)]


def split(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorArraySplitV3: handle, value, lengths, flow."""
    value, lengths = tensor(items[1]), build.integers(tensor(items[2]), "the lengths")
    array = _flow(items[3])
    if min(lengths, default=0) < 0 or sum(lengths) != shape_of(value)[0] or isinstance(array, Stored):
        raise Unsupported(f"lengths {list(lengths)} do not add up to {shape_of(value)[0]}, or its array has elements")
    return [_written(array, range(len(lengths)), _parts(build, value, [int(end) for end in np.cumsum(lengths)]))]


def count_of(build: GraphBuilder, array: Array) -> SSAValue:
    """The number of elements."""
    return build.emit(graph.ConstantOp(np.asarray(length(array), numpy_dtype(i32))))


Convert = Callable[[GraphBuilder, Node, Items], list[Item]]


def _on(array: int, *others: int, call: Callable[..., Item]) -> tuple[int, Convert]:
    """An operator that is `call` of the array and of tensors, at these inputs."""

    def convert(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
        return [call(build, _flow(items[array]), *(tensor(items[other]) for other in others))]

    return max(array, *others, 0) + 1, convert


V3: dict[str, tuple[tuple[int, ...], Convert]] = {
    name: ((count,), convert)
    for name, (count, convert) in {
        "TensorArrayConcatV3": (2, concat),
        "TensorArrayGatherV3": _on(2, 1, call=rows_at),
        "TensorArrayReadV3": _on(2, 1, call=get_item),
        "TensorArrayScatterV3": _on(3, 1, 2, call=with_rows),
        "TensorArraySizeV3": _on(1, call=count_of),
        "TensorArraySplitV3": (4, split),
        "TensorArrayV3": (1, new),
        "TensorArrayWriteV3": _on(3, 1, 2, call=set_item),
    }.items()
}
"""Operators on TensorArrays: how many inputs they take, and the converter."""
