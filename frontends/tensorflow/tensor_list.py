"""TensorFlow 2's tensor lists: the same arrays as TensorArrays, by value."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import TensorType, i64
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.node import Node
from stepwell.frontends.tensorflow.tensor_array import (
    V3,
    Array,
    Convert,
    Item,
    Items,
    Stored,
    TensorArray,
    count_of,
    empty,
    get_item,
    length,
    rows_at,
    set_item,
    tensor,
    whole,
    with_rows,
)


def _array(item: Item) -> Array:
    if isinstance(item, SSAValue):
        raise Unsupported("its input is no tensor list")
    return item


def _element(build: GraphBuilder, node: Node, shape: Item) -> TensorType[Attribute] | None:
    """The type of an element where its shape is a constant without unknown extents."""
    array = build.array(tensor(shape))
    if array is None or (array.size and array.min() < 0):
        return None
    return TensorType(node.element("element_dtype"), [int(extent) for extent in array.reshape(-1)])


def reserve(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListReserve: an element shape and a number of elements."""
    return [empty(build.integers(tensor(items[1]), "the number of elements")[0], _element(build, node, items[0]))]


def nothing(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """EmptyTensorList."""
    return [empty(0, _element(build, node, items[0]))]


def from_tensor(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListFromTensor: the rows of a tensor."""
    value = tensor(items[0])
    if not shape_of(value):
        raise Unsupported("its tensor is a scalar: it has no rows")
    return [Stored(value)]


def set_(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListSetItem: list, index, item."""
    return [set_item(build, _array(items[0]), tensor(items[1]), tensor(items[2]))]


def get(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListGetItem: list, index, element shape."""
    return [get_item(build, _array(items[0]), tensor(items[1]))]


def stack(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListStack: list, element shape."""
    array = _array(items[0])
    element = _element(build, node, items[1])
    if isinstance(array, TensorArray) and array.element is None and element is not None:
        array = TensorArray(array.elements, element)
    if isinstance(array, TensorArray) and not array.elements and array.element is not None:
        zero = build.emit(graph.ConstantOp(0, array.element.element_type))
        return [build.broadcast(zero, [0, *array.element.get_shape()])]
    return [whole(build, array)]


def gather(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListGather: list, indices, element shape."""
    return [rows_at(build, _array(items[0]), tensor(items[1]))]


def scatter(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListScatter and its V2: tensor, indices, element shape, number of elements (-1: as many as the indices need)."""
    value, indices = tensor(items[0]), tensor(items[1])
    count = build.integers(tensor(items[3]), "the number of elements")[0] if len(items) > 3 else -1
    if count < 0:
        count = 1 + max(build.integers(indices, "the indices"), default=-1)
    element = TensorType(build.element(value), shape_of(value)[1:])
    return [with_rows(build, empty(count, element), indices, value)]


def size(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListLength."""
    return [count_of(build, _array(items[0]))]


def push(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListPushBack: list, item."""
    array = _array(items[0])
    if isinstance(array, Stored):
        raise Unsupported("a list grows in a loop whose count is not known: give it its size when it is made")
    return [TensorArray((*array.elements, tensor(items[1])), array.element)]


def pop(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListPopBack: the list without its last element, and that."""
    array = _array(items[0])
    if isinstance(array, Stored) or not array.elements:
        raise Unsupported("a list shrinks that has no element, or in a loop whose count is not known")
    last = array.elements[-1]
    if last is None:
        raise Unsupported("the last element of the list was never written")
    return [TensorArray(array.elements[:-1], array.element), last]


def element_shape(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListElementShape."""
    array = _array(items[0])
    known = shape_of(array.tensor)[1:] if isinstance(array, Stored) else None
    if isinstance(array, TensorArray):
        held = [shape_of(value) for value in array.elements if value is not None]
        known = array.element.get_shape() if array.element is not None else held[0] if held else None
    if known is None:
        raise Unsupported("the shape of the list's elements is not known")
    return [build.literal(np.array(known, numpy_dtype(node.element("shape_type") if node.has("shape_type") else i64)))]


def resize(build: GraphBuilder, node: Node, items: Items) -> list[Item]:
    """TensorListResize: list, size."""
    array, (count,) = _array(items[0]), build.integers(tensor(items[1]), "the size")
    if count == length(array):
        return [array]
    if isinstance(array, Stored):
        raise Unsupported("the size of a list changes that a loop carries or a tensor was made to")
    grown = empty(count, array.element).elements
    return [TensorArray((*array.elements[:count], *grown[len(array.elements) :]), array.element)]


V2: dict[str, tuple[tuple[int, ...], Convert]] = {
    "EmptyTensorList": ((2,), nothing),
    "TensorListElementShape": ((1,), element_shape),
    "TensorListFromTensor": ((2,), from_tensor),
    "TensorListGather": ((3,), gather),
    "TensorListGetItem": ((3,), get),
    "TensorListLength": ((1,), size),
    "TensorListPopBack": ((2,), pop),
    "TensorListPushBack": ((2,), push),
    "TensorListReserve": ((2,), reserve),
    "TensorListResize": ((2,), resize),
    "TensorListScatter": ((3,), scatter),
    "TensorListScatterV2": ((4,), scatter),
    "TensorListSetItem": ((3,), set_),
    "TensorListStack": ((2,), stack),
}
OPERATORS = {**V3, **V2}
"""Operators on arrays and lists: how many inputs they take, and the converter."""
