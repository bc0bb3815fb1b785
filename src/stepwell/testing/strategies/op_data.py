"""Legal parameters of the ops that move, choose, order or index data, for `op_parameters`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from xdsl.dialects.builtin import IntegerType, TensorType, i1
from xdsl.ir import Attribute

from stepwell.dialects import graph
from stepwell.dialects.graph.checks import ANY, INDICES, NUMBERS
from stepwell.dialects.graph.ops_elementwise import width_of
from stepwell.dialects.numpy_types import FLOATS, FLOATS8, INTEGERS, numpy_dtype
from stepwell.testing.strategies.parameters import OpParameters
from stepwell.testing.strategies.shapes import Shape, tensor_shapes

any_element = st.sampled_from(ANY)
number_element = st.sampled_from(NUMBERS)


def tensors(
    elements: SearchStrategy[Attribute], least: int = 0, most: int = 4
) -> SearchStrategy[TensorType[Attribute]]:
    """Tensor types of these elements."""
    return st.builds(TensorType, elements, tensor_shapes(least, most, 256))


def some_dims(rank: int, least: int = 0) -> SearchStrategy[list[int]]:
    """Increasing dims."""
    return st.sets(st.sampled_from(range(rank)), min_size=least).map(sorted) if rank else st.just([])


def dim_of(type: TensorType[Attribute]) -> SearchStrategy[int]:
    """One dim of a tensor of rank 1 or more."""
    return st.integers(0, len(type.get_shape()) - 1)


@st.composite
def _constant(draw: DrawFn) -> OpParameters:
    element, shape = draw(any_element), draw(tensor_shapes(0, 3, 64))
    with np.errstate(all="ignore"):
        numbers = draw(st.lists(st.integers(-3, 3), min_size=1, max_size=1)) if draw(st.booleans()) else None
        count = int(np.prod(shape))
        flat = numbers * count if numbers else draw(st.lists(st.integers(-3, 3), min_size=count, max_size=count))
        array = np.array(flat, np.int64).astype(numpy_dtype(element)).reshape(shape)
    return OpParameters(graph.ConstantOp, (), {"value": array})


@st.composite
def _iota(draw: DrawFn) -> OpParameters:
    type = draw(tensors(number_element, 1))
    arguments = {"element_type": type.element_type, "shape": type.get_shape(), "dim": draw(dim_of(type))}
    return OpParameters(graph.IotaOp, (), arguments)


@st.composite
def _compare(draw: DrawFn) -> OpParameters:
    type = draw(tensors(st.sampled_from([*NUMBERS, i1])))
    return OpParameters(graph.CompareOp, (type, type), {"kind": draw(st.sampled_from(list(graph.CompareKind))).value})


@st.composite
def _select(draw: DrawFn) -> OpParameters:
    type = draw(tensors(any_element))
    return OpParameters(graph.SelectOp, (TensorType(i1, type.get_shape()), type, type))


@st.composite
def _bitcast(draw: DrawFn) -> OpParameters:
    before = draw(any_element)
    same = [element for element in ANY if width_of(element) == width_of(before)]
    operand = TensorType(before, draw(tensor_shapes()))
    return OpParameters(graph.BitcastOp, (operand,), {"element_type": draw(st.sampled_from(same))})


@st.composite
def _slice(draw: DrawFn) -> OpParameters:
    type = draw(tensors(any_element))
    begins, extents, strides = [], [], []
    for extent in type.get_shape():
        begin, stride = draw(st.integers(0, extent - 1)), draw(st.integers(1, 3))
        begins.append(begin)
        strides.append(stride)
        extents.append(draw(st.integers(0, (extent - begin - 1) // stride + 1)))
    return OpParameters(graph.SliceOp, (type,), {"begins": begins, "extents": extents, "strides": strides})


@st.composite
def _reverse(draw: DrawFn) -> OpParameters:
    type = draw(tensors(any_element))
    return OpParameters(graph.ReverseOp, (type,), {"dims": draw(some_dims(len(type.get_shape())))})


@st.composite
def _concat(draw: DrawFn) -> OpParameters:
    type = draw(tensors(any_element, 1, 3))
    shape, dim = type.get_shape(), draw(dim_of(type))
    sizes = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    types = tuple(TensorType(type.element_type, (*shape[:dim], size, *shape[dim + 1 :])) for size in sizes)
    return OpParameters(graph.ConcatOp, types, {"dim": dim}, together=True)


@st.composite
def _pad(draw: DrawFn) -> OpParameters:
    type = draw(tensors(any_element, 0, 3))
    rank = len(type.get_shape())
    widths = st.lists(st.integers(0, 2), min_size=rank, max_size=rank)
    return OpParameters(
        graph.PadOp, (type, TensorType(type.element_type, [])), {"low": draw(widths), "high": draw(widths)}
    )


@st.composite
def _indexed(
    draw: DrawFn, elements: Sequence[Attribute]
) -> tuple[TensorType[Attribute], TensorType[Attribute], int, list[int]]:
    """Operand, indices, batch and dims of a gather or scatter."""
    type = draw(tensors(st.sampled_from(elements), 1, 4))
    shape = type.get_shape()
    batch = draw(st.integers(0, min(2, len(shape) - 1)))
    dims = draw(st.sets(st.sampled_from(range(batch, len(shape))), min_size=1).map(sorted))
    more = draw(st.lists(st.integers(0, 4), max_size=2))
    indices: Shape = (*shape[:batch], *more, len(dims))
    return type, TensorType(draw(st.sampled_from(INDICES)), indices), batch, dims


@st.composite
def _gather(draw: DrawFn) -> OpParameters:
    type, indices, batch, dims = draw(_indexed(ANY))
    return OpParameters(graph.GatherOp, (type, indices), {"batch": batch, "dims": dims})


@st.composite
def _scatter(draw: DrawFn) -> OpParameters:
    combine = draw(st.sampled_from(list(graph.CombineKind))).value
    type, indices, batch, dims = draw(_indexed(ANY if combine == "none" else NUMBERS))
    others = [extent for dim, extent in enumerate(type.get_shape()) if dim >= batch and dim not in dims]
    updates = TensorType(type.element_type, [*indices.get_shape()[:-1], *others])
    arguments = {"batch": batch, "dims": dims, "combine": combine}
    return OpParameters(graph.ScatterOp, (type, indices, updates), arguments)


@st.composite
def _reduce(draw: DrawFn) -> OpParameters:
    kind = draw(st.sampled_from(list(graph.ReduceKind))).value
    elements = (i1, *INTEGERS) if kind in ("and", "or") else NUMBERS
    type = draw(tensors(st.sampled_from(elements)))
    return OpParameters(graph.ReduceOp, (type,), {"kind": kind, "dims": draw(some_dims(len(type.get_shape())))})


@st.composite
def _arg_reduce(draw: DrawFn) -> OpParameters:
    type = draw(tensors(number_element, 1))
    kind = draw(st.sampled_from(["max", "min"]))
    return OpParameters(
        graph.ArgReduceOp, (type,), {"kind": kind, "dim": draw(dim_of(type)), "last": draw(st.booleans())}
    )


@st.composite
def _cumulative(draw: DrawFn) -> OpParameters:
    type = draw(tensors(number_element, 1))
    flags = {"exclusive": draw(st.booleans()), "reverse": draw(st.booleans())}
    kind = draw(st.sampled_from(list(graph.CumulativeKind))).value
    return OpParameters(graph.CumulativeOp, (type,), {"kind": kind, "dim": draw(dim_of(type)), **flags})


@st.composite
def _top_k(draw: DrawFn) -> OpParameters:
    type = draw(tensors(number_element, 1))
    dim = draw(dim_of(type))
    k = draw(st.integers(0, type.get_shape()[dim]))
    return OpParameters(graph.TopKOp, (type,), {"dim": dim, "k": k, "largest": draw(st.booleans())})


STORED = [element for element in (*INTEGERS, *FLOATS8, IntegerType(4)) if element in ANY]
FLOAT_TENSORS = tensors(st.sampled_from(FLOATS), 0, 4)

DATA: Mapping[str, Callable[[], SearchStrategy[OpParameters]]] = {
    "graph.constant": _constant,
    "graph.iota": _iota,
    "graph.compare": _compare,
    "graph.select": _select,
    "graph.bitcast": _bitcast,
    "graph.slice": _slice,
    "graph.reverse": _reverse,
    "graph.concat": _concat,
    "graph.pad": _pad,
    "graph.gather": _gather,
    "graph.scatter": _scatter,
    "graph.reduce": _reduce,
    "graph.arg_reduce": _arg_reduce,
    "graph.cumulative": _cumulative,
    "graph.top_k": _top_k,
}
"""Op -> its parameters."""
