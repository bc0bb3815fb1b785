"""Scalars, single elements and extents of 0 through every op that computes, in types of every family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, bf16, f16, f32, i8, i32, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import graph
from stepwell.dialects.graph.extents import shape_of
from stepwell.dialects.graph.interpreter import run_graph_op
from stepwell.dialects.graph.ops_elementwise import binary_elements, unary_elements
from stepwell.dialects.numpy_types import FLOATS, STORAGE, f8E4M3FN, numpy_dtype, ui8, ui64

ELEMENTS = (f32, f16, bf16, i8, i32, i64, ui8, ui64)
SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (2, 0, 3), (1, 1), (3, 2))


def value(element: Attribute, shape: Sequence[int]) -> SSAValue:
    return create_ssa_value(TensorType(element, shape))


def on_a_shape(element: Attribute, shape: tuple[int, ...]) -> Iterator[Operation]:
    """Ops on tensors of one shape."""
    x, rank = value(element, shape), len(shape)
    yield from (graph.UnaryOp(x, kind=k.value) for k in graph.UnaryKind if element in unary_elements(k.value))
    yield from (graph.BinaryOp(x, x, kind=k.value) for k in graph.BinaryKind if element in binary_elements(k.value))
    yield from (graph.CompareOp(x, x, kind=k.value) for k in graph.CompareKind)
    for dims in ([], list(range(rank))):
        logic = ("and", "or")
        kinds = [k.value for k in graph.ReduceKind if element not in FLOATS or k.value not in logic]
        yield from (graph.ReduceOp(x, kind=kind, dims=dims) for kind in kinds)
        if element in FLOATS:
            yield graph.SoftmaxOp(x, dims=dims)
            yield graph.NormalizeOp(x, dims=dims, epsilon=1e-3)
    if element in FLOATS:
        stored = (i8, ui8, f8E4M3FN, STORAGE[0])
        yield from (graph.QuantizeOp(x, value(element, ()), value(q, ())) for q in stored)
    if rank:
        yield from (graph.CumulativeOp(x, kind=k.value, dim=rank - 1, exclusive=True) for k in graph.CumulativeKind)
        yield graph.TopKOp(x, dim=0, k=shape[0])
        yield graph.UniqueOp(x, symbol="u")
        yield graph.UniqueOp(x, symbol="u", dim=0)
    if rank and shape[0]:
        yield graph.ArgReduceOp(x, kind="max", dim=0, last=True)


def contractions(element: Attribute) -> Iterator[Operation]:
    """Products and windows over nothing, one and little."""
    for a, b in (((0, 3), (3, 2)), ((2, 0), (0, 4)), ((1, 1), (1, 1)), ((2, 0, 3), (3, 2)), ((2, 1, 3), (2, 3, 2))):
        yield graph.MatmulOp(value(element, a), value(element, b))
    window: dict[str, Any] = {"strides": [1, 1], "pads": [0] * 4}
    for images, channels in ((0, 2), (1, 1), (2, 0)):
        x = value(element, (images, channels, 4, 4))
        yield graph.ConvOp(x, value(element, (3, channels, 2, 2)), dilations=[1, 1], **window)
        back = value(element, (channels, 3, 2, 2))
        yield graph.ConvTransposeOp(x, back, dilations=[1, 1], extents=[5, 6], **window)
        kinds = ("max", "sum", "average") if element in FLOATS else ("max", "sum")
        yield from (graph.PoolOp(x, kind=kind, kernel=[2, 2], **window) for kind in kinds)
        yield graph.ArgPoolOp(x, kernel=[2, 2], **window)
        yield graph.ResizeOp(x, mode="nearest", extents=[2, 8], scales=[0.5, 2.0])


@pytest.mark.parametrize("element", ELEMENTS, ids=str)
def test_every_shape_gives_arrays_of_the_type(element: Attribute) -> None:
    for op in (*(op for shape in SHAPES for op in on_a_shape(element, shape)), *contractions(element)):
        op.verify()
        types = [operand.type for operand in op.operands]
        arrays = [np.ones(type.get_shape(), numpy_dtype(type)) for type in types]  # type: ignore[attr-defined]
        for array, result in zip(run_graph_op(op, arrays), op.results, strict=True):
            assert isinstance(array, np.ndarray) and array.dtype == numpy_dtype(result.type), str(op)
            for extent, actual in zip(shape_of(result.type), array.shape, strict=True):  # type: ignore[arg-type]
                assert actual <= extent if isinstance(extent, graph.Extent) else actual == extent, str(op)
