"""Networks that fold rows: a reduction, softmax or normalisation over any dims, with elementwise work and broadcast operands before and behind."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from xdsl.dialects.builtin import AnyFloat, TensorType, bf16, f16, f32, f64, i8, i32, i64
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.passes import location_of
from stepwell.testing.strategies.network import GeneratedGraph, close_network
from stepwell.testing.strategies.shapes import broadcasts
from stepwell.transforms.tensors import element_of, shape_of

ELEMENTS: tuple[Attribute, ...] = (f32, f32, f16, bf16, f64, i32, i64, i8)
WIDTHS = (1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 100)
"""Extents beside the widths of vectors, warps and chunks."""


@st.composite
def row_networks(
    draw: DrawFn, elements: tuple[Attribute, ...] = ELEMENTS, widths: tuple[int, ...] = WIDTHS
) -> GeneratedGraph:
    """Up to two ops before the one that folds, and up to three behind it; whole numbers of integers wrap, floats are of moderate size."""
    element = draw(st.sampled_from(elements))
    rank = draw(st.integers(1, 4))
    shape = tuple(draw(st.sampled_from([1, 2, 3])) for _ in range(rank))
    wide = draw(st.integers(0, rank - 1))
    shape = (*shape[:wide], draw(st.sampled_from(widths)), *shape[wide + 1 :])
    block = Block(arg_types=[TensorType(element, shape)])
    value: SSAValue = block.args[0]
    for _ in range(draw(st.integers(0, 2))):
        value = draw(_elementwise(block, value))
    dims = draw(st.lists(st.integers(0, rank - 1), unique=True, min_size=1, max_size=rank).map(sorted))
    fold = draw(_folds(value, dims, isinstance(element, AnyFloat)))
    _append(block, fold)
    value = fold.results[0]
    for _ in range(draw(st.integers(0, 3))):
        value = draw(_elementwise(block, value))
    others = [result for result in fold.results[1:] if draw(st.booleans())]
    return close_network(block, [value, *others])


@st.composite
def _folds(draw: DrawFn, value: SSAValue, dims: list[int], floating: bool) -> Operation:
    kinds = ["reduce", "arg_reduce", *(["softmax", "normalize"] if floating else [])]
    match draw(st.sampled_from(kinds)):
        case "reduce":
            return graph.ReduceOp(value, kind=draw(st.sampled_from(["sum", "max", "min"])), dims=dims)
        case "arg_reduce":
            kind = draw(st.sampled_from(["max", "min"]))
            return graph.ArgReduceOp(value, kind=kind, dim=dims[0], last=draw(st.booleans()))
        case "softmax":
            return graph.SoftmaxOp(value, dims=dims, log=draw(st.booleans()))
    return graph.NormalizeOp(value, dims=dims, epsilon=0.125, center=draw(st.booleans()))


@st.composite
def _elementwise(draw: DrawFn, block: Block, value: SSAValue) -> SSAValue:
    """One op behind `value` at the end of the block, with an operand of its own where it needs one."""
    if draw(st.booleans()):
        return _append(block, graph.UnaryOp(value, kind=draw(st.sampled_from(["relu", "neg", "abs"]))))
    shape, dims = draw(broadcasts(shape_of(value)))
    other: SSAValue = block.insert_arg(TensorType(element_of(value), shape), len(block.args))
    if shape != shape_of(value):
        other = _append(block, graph.BroadcastOp(other, dims=dims, shape=shape_of(value)))
    return _append(block, graph.BinaryOp(value, other, kind=draw(st.sampled_from(["add", "mul", "max"]))))


def _append(block: Block, op: Operation) -> SSAValue:
    op.location = location_of([f"n{len(list(block.ops))}"])
    block.add_op(op)
    return op.results[0]
