"""graph-fold-batch-norm: a batch norm with known statistics goes into the filter of the product before it.

```mlir
%1 = graph.conv %x, %w strides [1, 1] .. channels_first : (tensor<8x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<8x4x6x6xf32>
%y = graph.batch_norm %1, %scale, %bias, %mean, %variance dim 1 epsilon 1.0e-05 : ..
```
becomes, with factor = scale / sqrt(variance + epsilon),
```mlir
%v = graph.weight #graph.weight<"w.folded#3f..", ..>        // w * factor
%b = graph.weight #graph.weight<"w.bias#a1..", ..>          // bias - mean * factor
%1 = graph.conv %x, %v strides [1, 1] .. channels_first : (tensor<8x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<8x4x6x6xf32>
%2 = graph.broadcast %b dims [1] : tensor<4xf32> -> tensor<8x4x6x6xf32>
%y = graph.binary add %1, %2 : ..
```
A bias that is added between them is folded as well. Behind anything else the batch norm becomes a product with the factors and a sum, which fuse as
elementwise ops do. In real numbers both are the same; here a weight is rounded once, after a computation in f64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.dialects.weights import WeightStore
from stepwell.passes import (
    Meaning,
    StepwellContext,
    StepwellPass,
    fuse_locations,
    inherit_location,
    names_of,
    remarks_of,
)
from stepwell.passes.remarks import Kind, Remark
from stepwell.transforms.graph._constants import erase_unused, store_of, value_of, width
from stepwell.transforms.graph._values import in_fusion, shape_of, users
from stepwell.transforms.tensors import element_of

Root = graph.ConvOp | graph.MatmulOp


@dataclass(frozen=True)
class _Behind:
    """What a batch norm stands behind: a product with a known filter, and the bias that is added to it, if one is."""

    root: Root
    filter: Array
    bias: Array | None
    ops: tuple[Operation, ...]


@dataclass(frozen=True)
class FoldBatchNormPass(StepwellPass):
    """Fold batch norms with known parameters into filters and biases, or into factors and sums. See the file's head.

    Needs the values of weights: where they are not given (`--weights`), or parameters are computed, a batch norm stays as it is. Remarks: passed with where it went,
    missed with why it stays or is not in a filter."""

    name = "graph-fold-batch-norm"
    level: ClassVar[str] = "graph"
    meaning: ClassVar[Meaning] = "rounds"
    rtol: ClassVar[float] = 2e-3

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        held = store_of(ctx)
        store = WeightStore() if held is None else held
        for inner in [inner for inner in op.walk() if isinstance(inner, graph.BatchNormOp)]:
            kind, message = _fold(inner, held, store)
            remarks_of(ctx).add(Remark(kind, self.name, names_of(inner), message))
        if isinstance(ctx, StepwellContext) and ctx.weights is None and len(store):
            ctx.weights = store


def _fold(op: graph.BatchNormOp, held: WeightStore | None, store: WeightStore) -> tuple[Kind, str]:
    """Fold one batch norm: what became of it."""
    if in_fusion(op):
        return "missed", "it is in a fusion already"
    known = [value_of(value, held) for value in op.operands[1:]]
    parameters = [array.astype(np.float64) for array in known if array is not None]
    if len(parameters) != 4:
        return "missed", "its parameters are computed, or weights whose values are not given"
    scale, bias, mean, variance = parameters
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + op.epsilon)
        offset = bias - mean * factor
    if not (np.isfinite(factor).all() and np.isfinite(offset).all()):
        return "missed", "a factor of it is not finite"
    behind = _behind(op, held)
    if isinstance(behind, str):
        _scale(op, factor, offset, store)
        return "missed", f"became a product and a sum: {behind}"
    _into_filter(op, behind, factor, offset, store)
    return "passed", f"folded into the filter of {_name(behind.root)}"


def _behind(op: graph.BatchNormOp, store: WeightStore | None) -> _Behind | str:
    """The product before a batch norm, or why there is none to fold into."""
    value, bias = op.operand, None
    ops: list[Operation] = []
    if isinstance(value.owner, graph.BinaryOp) and value.owner.kind == "add":
        found = _bias(value.owner, op.dim, store)
        if found is None:
            return f"what is added in {_name(value.owner)} is no bias"
        ops.append(value.owner)
        value, bias = found
    root = value.owner
    if not isinstance(root, Root):
        return "no product stands before it"
    ops.append(root)
    if any(users(step) != [after] for step, after in zip(ops, [op, *ops], strict=False)):
        return f"{_name(root)} is used elsewhere too"
    channel = (
        1 if isinstance(root, graph.ConvOp) and root.layout == "channels_first" else len(shape_of(root.result)) - 1
    )
    if channel != op.dim:
        return "it runs along another dim than the filters"
    filter = value_of(root.operands[1], store)
    if filter is None or (isinstance(root, graph.MatmulOp) and filter.ndim != 2):
        return f"the filter of {_name(root)} is computed, or its values are not given"
    return _Behind(root, filter, bias, tuple(ops))


def _bias(op: graph.BinaryOp, dim: int, store: WeightStore | None) -> tuple[SSAValue, Array] | None:
    """The other operand and the numbers along `dim` of a sum with a known bias."""
    for value, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
        repeated = other.owner
        if not isinstance(repeated, graph.BroadcastOp) or tuple(repeated.dims) not in ((dim,), ()):
            continue
        array = value_of(repeated.operand, store)
        if array is not None:
            return value, np.broadcast_to(array.astype(np.float64), (shape_of(op.result)[dim],))
    return None


def _into_filter(op: graph.BatchNormOp, behind: _Behind, factor: Array, offset: Array, store: WeightStore) -> None:
    root = behind.root
    first = isinstance(root, graph.ConvOp) or root.transpose_b
    aligned = factor.reshape([-1, *[1] * (behind.filter.ndim - 1)] if first else [1, -1])
    name = _name(root)
    filter = (behind.filter.astype(np.float64) * aligned).astype(behind.filter.dtype)
    bias = offset if behind.bias is None else offset + behind.bias * factor
    weight = graph.WeightOp(store.add_by_content(f"{name}.folded", filter))
    product = root.clone({root.operands[1]: weight.result})
    product.location = fuse_locations([root, op])
    element = element_of(op.result)
    held = graph.WeightOp(store.add_by_content(f"{name}.bias", bias.astype(numpy_dtype(element))))
    _replace(op, [weight, product], [held], product.results[0], "add")
    for dead in behind.ops:
        feeders = [operand.owner for operand in dead.operands]
        Rewriter.erase_op(dead)
        for feeder in feeders:
            erase_unused(feeder)


def _scale(op: graph.BatchNormOp, factor: Array, offset: Array, store: WeightStore) -> None:
    """x * factor + offset, of 16-bit floats in f32."""
    made: list[Operation] = []
    x = op.operand
    if width(x) < 32:
        made.append(graph.CastOp(x, f32))
        x = made[0].results[0]
    dtype = numpy_dtype(element_of(x))
    weights = [
        graph.WeightOp(store.add_by_content(f"{_name(op)}.{what}", array.astype(dtype)))
        for what, array in (("factor", factor), ("offset", offset))
    ]
    _replace(op, made, weights, x, "mul", "add")


def _replace(
    op: graph.BatchNormOp, made: list[Operation], weights: list[graph.WeightOp], x: SSAValue, *kinds: str
) -> None:
    """Put `made`, then one binary op with a broadcast weight for each kind, in the place of `op`."""
    shape = shape_of(op.result)
    for kind, weight in zip(kinds, weights, strict=True):
        repeated = graph.BroadcastOp(weight.result, dims=[op.dim], shape=shape)
        combined = graph.BinaryOp(x, repeated.result, kind=kind)
        made += [weight, repeated, combined]
        x = combined.result
    if element_of(x) != element_of(op.result):
        made.append(graph.CastOp(x, element_of(op.result)))
        x = made[-1].results[0]
    for new in made:
        if isinstance(new, graph.WeightOp) or not names_of(new):
            inherit_location(new, op)
    x.name_hint = op.result.name_hint
    Rewriter.insert_op(made, InsertPoint.before(op))
    parameters = [value.owner for value in op.operands[1:]]
    Rewriter.replace_op(op, [], [x])
    for parameter in parameters:
        erase_unused(parameter)


def _name(op: Operation) -> str:
    return " + ".join(names_of(op)) or op.name


PASS = FoldBatchNormPass
