"""Ops that commute with a transpose: op(transpose(x)) becomes transpose(op'(x)), with what op says about dims said about those of x."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.shapes import inverse_permutation
from stepwell.passes import Rewriter, inherit_location
from stepwell.transforms.graph._values import is_constant, is_dead, producer, shape_of
from stepwell.transforms.tensors import element_of

Permutation = tuple[int, ...]
Sinking = (
    graph.BatchNormOp
    | graph.BinaryOp
    | graph.BitcastOp
    | graph.CastOp
    | graph.CompareOp
    | graph.ConcatOp
    | graph.DequantizeOp
    | graph.LrnOp
    | graph.PadOp
    | graph.QuantizeOp
    | graph.ReduceOp
    | graph.ResizeOp
    | graph.ReverseOp
    | graph.SelectOp
    | graph.SliceOp
    | graph.SoftmaxOp
    | graph.UnaryOp
)
"""Ops that have a rule here."""
Rule = Callable[[Any, Sequence[SSAValue], Permutation], Operation | None]
"""Op, its operands before the transpose, the permutation: the op on them; None where there is none."""


def by_source(values: Sequence[int], permutation: Permutation) -> list[int]:
    """What is said for each dim of a transposed value, for the dims of the value before it."""
    return [values[position] for position in inverse_permutation(permutation)]


def _dims(dims: Sequence[int], permutation: Permutation) -> list[int]:
    return sorted(permutation[dim] for dim in dims)


def _unary(op: graph.UnaryOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    return graph.UnaryOp(operands[0], kind=op.kind)


def _cast(op: graph.CastOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    rounding = op.rounding if op.rounding_attr is not None else None
    return graph.CastOp(operands[0], element_of(op.result), saturate=op.saturate, rounding=rounding)


def _bitcast(op: graph.BitcastOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    return graph.BitcastOp(operands[0], element_of(op.result))


def _binary(op: graph.BinaryOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    return graph.BinaryOp(*operands, kind=op.kind)


def _compare(op: graph.CompareOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    return graph.CompareOp(*operands, kind=op.kind)


def _select(op: graph.SelectOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    return graph.SelectOp(*operands)


def _concat(op: graph.ConcatOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    symbol = op.symbol_attr.data if op.symbol_attr is not None else None
    return graph.ConcatOp(operands, dim=permutation[op.dim], symbol=symbol)


def _slice(op: graph.SliceOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    begins, extents, strides = (by_source(said, permutation) for said in (op.begins, op.extents, op.strides))
    return graph.SliceOp(operands[0], begins=begins, extents=extents, strides=strides)


def _reverse(op: graph.ReverseOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    return graph.ReverseOp(operands[0], dims=_dims(op.dims, permutation))


def _pad(op: graph.PadOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    low, high = by_source(op.low, permutation), by_source(op.high, permutation)
    return graph.PadOp(operands[0], operands[1], low=low, high=high)


def _softmax(op: graph.SoftmaxOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    return graph.SoftmaxOp(operands[0], dims=_dims(op.dims, permutation), log=op.log)


def _reduce(op: graph.ReduceOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    return graph.ReduceOp(operands[0], kind=op.kind, dims=_dims(op.dims, permutation))


def _batch_norm(op: graph.BatchNormOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation:
    x, *parameters = operands
    return graph.BatchNormOp(x, *parameters, dim=permutation[op.dim], epsilon=op.epsilon)


def _quantising(
    op: graph.QuantizeOp | graph.DequantizeOp, operands: Sequence[SSAValue], permutation: Permutation
) -> Operation | None:
    """With one scale, or one along one dim: of several the order would change."""
    if len(op.dims) > 1:
        return None
    dims = _dims(op.dims, permutation)
    if isinstance(op, graph.QuantizeOp):
        return graph.QuantizeOp(*operands, dims=dims, block=op.block, saturate=op.saturate)
    return graph.DequantizeOp(*operands, dims=dims, block=op.block, element_type=element_of(op.result))


def other_layout(layout: str, permutation: Permutation) -> str | None:
    """The layout before a transpose that made `layout`; None where the transpose is another."""
    rank = len(permutation)
    first, last = (0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)
    if layout == "channels_first" and permutation == first:
        return "channels_last"
    return "channels_first" if layout == "channels_last" and permutation == last else None


def _lrn(op: graph.LrnOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation | None:
    layout = other_layout(op.layout, permutation)
    if layout is None:
        return None
    return graph.LrnOp(operands[0], size=op.size, alpha=op.alpha, beta=op.beta, k=op.k, layout=layout)


def _resize(op: graph.ResizeOp, operands: Sequence[SSAValue], permutation: Permutation) -> Operation | None:
    layout = other_layout(op.layout, permutation)
    if layout is None:
        return None
    how = {"coordinates": op.coordinates, "rounding": op.rounding, "cubic": op.cubic}
    flags = {"exclude_outside": op.exclude_outside, "antialias": op.antialias}
    return graph.ResizeOp(
        operands[0], mode=op.mode, extents=op.extents, scales=op.scales, layout=layout, **how, **flags
    )


SINKING: Mapping[type[Operation], tuple[int, Rule]] = {
    graph.BatchNormOp: (1, _batch_norm),
    graph.BinaryOp: (2, _binary),
    graph.BitcastOp: (1, _bitcast),
    graph.CastOp: (1, _cast),
    graph.CompareOp: (2, _compare),
    graph.ConcatOp: (-1, _concat),
    graph.DequantizeOp: (1, _quantising),
    graph.LrnOp: (1, _lrn),
    graph.PadOp: (1, _pad),
    graph.QuantizeOp: (1, _quantising),
    graph.ReduceOp: (1, _reduce),
    graph.ResizeOp: (1, _resize),
    graph.ReverseOp: (1, _reverse),
    graph.SelectOp: (3, _select),
    graph.SliceOp: (1, _slice),
    graph.SoftmaxOp: (1, _softmax),
    graph.UnaryOp: (1, _unary),
}
"""Op -> how many operands have its dims (-1: all), and its rule."""


def sink(op: Operation, rewriter: Rewriter) -> bool:
    """op(transpose(a), b) -> transpose(op(a, b')), when b' costs no transpose of data."""
    if type(op) not in SINKING:
        return False
    count, rule = SINKING[type(op)]
    count = len(op.operands) if count < 0 else count
    moved = next(filter(None, (producer(value, graph.TransposeOp) for value in op.operands[:count])), None)
    if moved is None:
        return False
    made: list[Operation] = []
    operands: list[SSAValue] = []
    for operand in op.operands[:count]:
        value = _untransposed(operand, moved.permutation, made)
        if value is None:
            return False
        operands.append(value)
    sunk = rule(op, [*operands, *op.operands[count:]], moved.permutation)
    if sunk is None:
        return False
    _replace(op, sunk, moved, rewriter, made)
    return True


def _after(op: Operation, permutation: Permutation) -> Permutation:
    """The transpose behind an op on the value before one: a reduction leaves dims out."""
    if not isinstance(op, graph.ReduceOp):
        return permutation
    kept = [source for dim, source in enumerate(permutation) if dim not in op.dims]
    return tuple(sorted(kept).index(source) for source in kept)


def _replace(
    op: Operation, sunk: Operation, moved: graph.TransposeOp, rewriter: Rewriter, made: list[Operation]
) -> None:
    """Replace `op` by a transpose of `sunk`, both called after it: the transpose stands behind another node now."""
    again = graph.TransposeOp(sunk.results[0], _after(op, moved.permutation))
    for new, hinted in ((sunk, op), (again, moved), *((new, op) for new in made)):
        inherit_location(new, op)
        new.results[0].name_hint = hinted.results[0].name_hint
    sources = dict.fromkeys(operand.owner for operand in op.operands)
    rewriter.replace(op, [*made, sunk, again])
    for feeder in sources:
        if isinstance(feeder, graph.TransposeOp | graph.BroadcastOp | graph.ConstantOp) and is_dead(feeder):
            rewriter.erase(feeder)


def _untransposed(value: SSAValue, permutation: Permutation, made: list[Operation]) -> SSAValue | None:
    """A value whose transpose by `permutation` is `value`, made without moving data that is computed; None when there is none."""
    moved = producer(value, graph.TransposeOp)
    if moved is not None and moved.permutation == permutation:
        return moved.operand
    inverse = inverse_permutation(permutation)
    broadcast = producer(value, graph.BroadcastOp)
    if broadcast is not None:
        dims = [permutation[dim] for dim in broadcast.dims]
        order = sorted(range(len(dims)), key=lambda position: dims[position])
        source = broadcast.operand
        if order != list(range(len(dims))):
            if not is_constant(source):
                return None
            made.append(graph.TransposeOp(source, order))
            source = made[-1].results[0]
        shape = shape_of(value)
        made.append(graph.BroadcastOp(source, dims=sorted(dims), shape=[shape[dim] for dim in inverse]))
        made[-1].location = broadcast.location
        return made[-1].results[0]
    constant = producer(value, graph.ConstantOp)
    if constant is not None and len(constant.values.data) == 1:
        made.append(graph.ConstantOp(constant.array.transpose(inverse), element_of(value)))
        return made[-1].results[0]
    if is_constant(value):
        made.append(graph.TransposeOp(value, inverse))
        return made[-1].results[0]
    return None
