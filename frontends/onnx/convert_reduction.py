"""Converters: reductions, positions of extremes, prefix sums, the largest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from math import comb, prod

import numpy as np
from xdsl.dialects.builtin import i1, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.computed import chosen
from stepwell.frontends.onnx.convert_elementwise import Converter
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node


def _choices(node: Node, build: GraphBuilder, x: SSAValue) -> list[list[int]]:
    """The dims that may be reduced: one list, but several where the axes are computed and the declared shape does not say which they are."""
    shape = shape_of(x)
    rank = len(shape)
    nothing = bool(node.integer("noop_with_empty_axes", 0))
    if shapes := build.decided(node, 1):
        return _declared_choices(shape, shapes[0], bool(node.integer("keepdims", 1)), shape_of(build.value(node, 1))[0])
    since = 13 if node.op_type == "ReduceSum" else 18
    if node.opset >= since:
        given = build.constant(node, 1, "axes").reshape(-1).tolist() if node.has_input(1) else []
    else:
        given, nothing = list(node.integers("axes", ())), False
    if not given:
        return [[] if nothing else list(range(rank))]
    return [sorted({dim_of(int(axis), rank) for axis in given})]


def _declared_choices(shape: Sequence[int], result: Sequence[int], keepdims: bool, count: int) -> list[list[int]]:
    """The dims, at most `count`, that lead from one shape to the other; where a dim of extent 1 stays it is not reduced, for that changes nothing."""
    every = range(len(shape))
    if keepdims:
        found = [[d for d in every if shape[d] != result[d]]] if len(result) == len(shape) else []
    elif comb(len(shape), len(result)) > MOST_SUBSETS:
        found = []
    else:
        kept = [dims for dims in combinations(every, len(result)) if [shape[d] for d in dims] == list(result)]
        found = [[d for d in every if d not in dims] for dims in kept]
        found = found if len({tuple(d for d in dims if shape[d] != 1) for dims in found}) > 1 else found[:1]
    if not found or len(found) > MOST_CHOICES or len(found[0]) > count:
        raise Unsupported(
            f"axes are computed from the network's inputs, and {list(shape)} to {list(result)} does not say which"
        )
    return found


MOST_SUBSETS = 10_000
"""Most sets of dims that are tried against a declared shape."""
MOST_CHOICES = 24
"""Most sets of axes that are all computed, so that one can be chosen while the network runs."""


def _chosen(node: Node, build: GraphBuilder, x: SSAValue, reduced: Callable[[list[int]], SSAValue]) -> SSAValue:
    """What `reduced` makes of the dims, with extents of 1 in their place where keepdims says so."""
    shape, keepdims = shape_of(x), node.integer("keepdims", 1)
    made = []
    for dims in _choices(node, build, x):
        kept = [1 if d in dims else extent for d, extent in enumerate(shape)]
        made.append((dims, build.reshape(reduced(dims), kept) if keepdims else reduced(dims)))
    return made[0][1] if len(made) == 1 else chosen(build, build.cast(build.value(node, 1), i64), len(shape), made)


def _kept(build: GraphBuilder, node: Node, value: SSAValue, shape: Sequence[int], dims: Sequence[int]) -> SSAValue:
    """With keepdims the reduced dims stay, with extent 1."""
    if not node.integer("keepdims", 1):
        return value
    return build.reshape(value, [1 if d in dims else extent for d, extent in enumerate(shape)])


def _square(build: GraphBuilder, x: SSAValue) -> SSAValue:
    return build.binary("mul", x, x)


def _reduce(kind: str, node: Node, build: GraphBuilder) -> list[SSAValue]:
    x = build.value(node, 0)
    before, reduced, after = REDUCTIONS[kind]
    reduced = LOGICAL.get(reduced, reduced) if build.element(x) == i1 else reduced
    term = _square(build, x) if before == "square" else build.unary(before, x) if before else x

    def along(dims: list[int]) -> SSAValue:
        total = build.emit(graph.ReduceOp(term, kind=reduced, dims=dims)) if dims else term
        if after == "mean":
            count = prod(shape_of(x)[d] for d in dims)
            return build.binary("div", total, build.number(count, total)) if dims else total
        return build.unary(after, total) if after else total

    return [_chosen(node, build, x, along)]


LOGICAL = {"max": "or", "min": "and"}
"""Extremes of truths."""
REDUCTIONS = {
    "sum": ("", "sum", ""),
    "mean": ("", "sum", "mean"),
    "max": ("", "max", ""),
    "min": ("", "min", ""),
    "prod": ("", "product", ""),
    "l1": ("abs", "sum", ""),
    "l2": ("square", "sum", "sqrt"),
    "log_sum": ("", "sum", "log"),
    "sum_square": ("square", "sum", ""),
}
"""For each reduction what is done to the elements, which graph.reduce it is, what is done to the result."""


def reduction(kind: str) -> Converter:
    """The converter of ReduceSum and its kin."""
    return partial(_reduce, kind)


def _arg(kind: str, node: Node, build: GraphBuilder) -> list[SSAValue]:
    x = build.value(node, 0)
    dim = dim_of(node.integer("axis", 0), len(shape_of(x)))
    found = build.emit(graph.ArgReduceOp(x, kind=kind, dim=dim, last=bool(node.integer("select_last_index", 0))))
    return [_kept(build, node, found, shape_of(x), [dim])]


def arg_reduction(kind: str) -> Converter:
    """The converter of ArgMax and ArgMin."""
    return partial(_arg, kind)


def _cumulative(kind: str, node: Node, build: GraphBuilder) -> list[SSAValue]:
    x = build.value(node, 0)
    rank = len(shape_of(x))
    exclusive, reverse = bool(node.integer("exclusive", 0)), bool(node.integer("reverse", 0))

    def along(dim: int) -> SSAValue:
        return build.emit(graph.CumulativeOp(x, kind=kind, dim=dim, exclusive=exclusive, reverse=reverse))

    axis = build.array(build.value(node, 1))
    if axis is not None or rank == 1:
        return [along(0 if axis is None else dim_of(int(axis.item()), rank))]
    chosen = build.scalar(node, 1, i64, shape_of(x))
    result = along(0)
    for dim in range(1, rank):
        ends = (build.emit(graph.CompareOp(chosen, build.number(d, chosen), kind="eq")) for d in (dim, dim - rank))
        result = build.emit(graph.SelectOp(build.binary("or", next(ends), next(ends)), along(dim), result))
    return [result]


def cumulative(kind: str) -> Converter:
    """The converter of CumSum and CumProd, along one dim."""
    return partial(_cumulative, kind)


def top_k(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """TopK: k is an attribute before opset 10; the order is always sorted."""
    x = build.value(node, 0)
    node.ignore("sorted")
    dim = dim_of(node.integer("axis", -1), len(shape_of(x)))
    if shapes := build.decided(node, 1):
        k = shapes[0][dim] if len(shapes[0]) > dim else 0
    else:
        k = node.integer("k", 0) if node.opset < 10 else int(build.constant(node, 1, "k").item())
    return list(build.emit_all(graph.TopKOp(x, dim=dim, k=k, largest=bool(node.integer("largest", 1)))))


def log_sum_exp(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """ReduceLogSumExp, less the maximum (0 where it is infinite) so that nothing overflows."""
    x = build.value(node, 0)
    shape = shape_of(x)

    def along(dims: list[int]) -> SSAValue:
        if not dims:
            return x
        kept = [d for d in range(len(shape)) if d not in dims]
        most = build.emit(graph.ReduceOp(x, kind="max", dims=dims))
        finite = build.emit(graph.CompareOp(build.unary("abs", most), build.number(np.inf, most), kind="lt"))
        safe = build.emit(graph.SelectOp(finite, most, build.number(0, most)))
        shifted = build.binary("sub", x, build.emit(graph.BroadcastOp(safe, dims=kept, shape=shape)))
        total = build.emit(graph.ReduceOp(build.unary("exp", shifted), kind="sum", dims=dims))
        return build.binary("add", build.unary("log", total), safe)

    return [_chosen(node, build, x, along)]
