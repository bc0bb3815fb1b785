"""graph-cancel-transposes: move transposes toward the outputs until they meet their inverse, a weight, or nothing.

```mlir
%1 = graph.transpose %0 [0, 3, 1, 2] : tensor<8x4x4x64xf32> -> tensor<8x64x4x4xf32>
%2 = graph.unary relu %1 : tensor<8x64x4x4xf32> -> tensor<8x64x4x4xf32>
%3 = graph.transpose %2 [0, 2, 3, 1] : tensor<8x64x4x4xf32> -> tensor<8x4x4x64xf32>
```
becomes
```mlir
%3 = graph.unary relu %0 : tensor<8x4x4x64xf32> -> tensor<8x4x4x64xf32>
```

Rules: two transposes compose; one that only moves extents of 1 is a reshape; elementwise ops, concatenations, slices, pads, reductions and what works along given dims commute with transposes (a broadcast operand
is broadcast along other dims, a weight is transposed instead); a transpose that is flattened into a product's K moves to the weight
(its sums then run in another order, hence `reassociates`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from stepwell.dialects import graph
from stepwell.dialects.graph.shapes import compose_permutations, inverse_permutation
from stepwell.passes import Meaning, Rewriter, StepwellPass, inherit_location, names_of, remarks_of, rewrite
from stepwell.passes.remarks import Remark
from stepwell.transforms.graph._sink_transposes import Permutation, Sinking, sink
from stepwell.transforms.graph._values import elements_of, is_constant, is_dead, producer, shape_of, users
from stepwell.transforms.tensors import element_of


@rewrite("graph-cancel-transposes", level="graph", meaning="reassociates")
def move_transposes(
    op: graph.TransposeOp | graph.MatmulOp | graph.ReshapeOp | Sinking,
    rewriter: Rewriter,
) -> None:
    """Apply the first rule that fits."""
    for rule in RULES:
        if rule(op, rewriter):
            return


def _compose(op: Operation, rewriter: Rewriter) -> bool:
    """transpose(transpose(x)) -> transpose(x), or x."""
    if not isinstance(op, graph.TransposeOp):
        return False
    first = producer(op.operand, graph.TransposeOp)
    permutation = compose_permutations(first.permutation, op.permutation) if first else op.permutation
    source = first.operand if first else op.operand
    if permutation == tuple(range(len(permutation))):
        rewriter.replace(op, [], [source])
        if first is not None:
            _passed(rewriter, "a transpose and its inverse cancel")
    elif first is not None:
        rewriter.replace(op, graph.TransposeOp(source, permutation))
        _passed(rewriter, "two transposes became one")
    else:
        return False
    if first is not None and is_dead(first):
        rewriter.erase(first)
    return True


def _as_reshape(op: Operation, rewriter: Rewriter) -> bool:
    """A transpose that keeps the order of all extents but 1 moves no data: reshape."""
    if not isinstance(op, graph.TransposeOp):
        return False
    shape = shape_of(op.operand)
    real = [dim for dim in op.permutation if shape[dim] != 1]
    if real != sorted(real):
        return False
    rewriter.replace(op, graph.ReshapeOp(op.operand, shape_of(op.result)))
    _passed(rewriter, "a transpose that only moves extents of 1 became a reshape")
    return True


def _merge_reshapes(op: Operation, rewriter: Rewriter) -> bool:
    """reshape(reshape(x)) -> reshape(x), or x."""
    if not isinstance(op, graph.ReshapeOp):
        return False
    first = producer(op.operand, graph.ReshapeOp)
    source = first.operand if first is not None else op.operand
    if source.type == op.result.type:
        rewriter.replace(op, [], [source])
    elif first is not None:
        rewriter.replace(op, graph.ReshapeOp(source, shape_of(op.result)))
    else:
        return False
    if first is not None and is_dead(first):
        rewriter.erase(first)
    return True


def _fold_into_matmul(op: Operation, rewriter: Rewriter) -> bool:
    """matmul(flatten(transpose(x)), W) -> matmul(flatten(x), W'), the rows of W reordered as x has them."""
    if not isinstance(op, graph.MatmulOp) or not is_constant(op.b) or len(shape_of(op.b)) != 2:
        return False
    flat = producer(op.a, graph.ReshapeOp)
    moved = producer(flat.operand, graph.TransposeOp) if flat is not None else None
    if flat is None or moved is None:
        return False
    permutation, shape = moved.permutation, shape_of(moved.result)
    first = _first_flattened(permutation, shape, shape_of(op.a)[-1])
    if first is None:
        return False
    inverse = inverse_permutation(permutation)
    order = [inverse[dim] - first for dim in range(first, len(shape))]
    kept = shape_of(op.b)[0] if op.transpose_b else shape_of(op.b)[1]
    if op.transpose_b:
        split: tuple[int, ...] = (kept, *shape[first:])
        order = [0, *(dim + 1 for dim in order)]
    else:
        split = (*shape[first:], kept)
        order = [*order, len(order)]
    rows = graph.ReshapeOp(op.b, split)
    ordered = graph.TransposeOp(rows, order)
    weight = graph.ReshapeOp(ordered, shape_of(op.b))
    view = graph.ReshapeOp(moved.operand, shape_of(op.a))
    inherit_location(view, flat)
    view.result.name_hint, weight.result.name_hint = flat.result.name_hint, op.b.name_hint
    for made in (rows, ordered, weight):
        inherit_location(made, op)
    product = graph.MatmulOp(view, weight, transpose_b=op.transpose_b, element_type=element_of(op.result))
    rewriter.replace(op, [view, rows, ordered, weight, product])
    rewriter.passed(f"the transpose of {' + '.join(names_of(moved)) or 'the operand'} moved into the weight's recipe")
    for dead in (flat, moved):
        if is_dead(dead):
            rewriter.erase(dead)
    return True


def _first_flattened(permutation: Permutation, shape: tuple[int, ...], k: int) -> int | None:
    """The first of the transposed dims that a reshape merges into K, when the dims before it stay where they were."""
    for first in range(len(shape)):
        if elements_of(shape[first:]) == k and permutation[:first] == tuple(range(first)):
            return first
    return None


def _passed(rewriter: Rewriter, message: str) -> None:
    """A remark, unless it is about a weight: that one only changes its recipe."""
    operand = rewriter.op.operands[0] if rewriter.op.operands else None
    if operand is None or not is_constant(operand):
        rewriter.passed(message)


RULES: tuple[Callable[[Operation, Rewriter], bool], ...] = (
    _compose,
    _as_reshape,
    _merge_reshapes,
    sink,
    _fold_into_matmul,
)
"""Tried in this order on every op."""


@dataclass(frozen=True)
class CancelTransposesPass(StepwellPass):
    """Move transposes toward the outputs until they cancel, become reshapes or fold into weights. See the file's head.

    Remarks: passed per transpose that went, missed per one that stays with the op that it could not pass."""

    name = "graph-cancel-transposes"
    level: ClassVar[str] = "graph"
    meaning: ClassVar[Meaning] = "reassociates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite until nothing changes, then tell what is left."""
        move_transposes().apply(ctx, op)
        for left in op.walk():
            if isinstance(left, graph.TransposeOp) and not is_constant(left.operand):
                for user in users(left):
                    remarks_of(ctx).add(
                        Remark("missed", self.name, names_of(left), f"a transpose stays: {_obstacle(user)}")
                    )


def _obstacle(user: Operation) -> str:
    """Why a transpose does not move past `user`."""
    name = " + ".join(names_of(user)) or user.name
    match user:
        case func.ReturnOp():
            return "it is an output of the network"
        case graph.BinaryOp():
            return f"the other operand of {name} is computed and not transposed"
        case graph.YieldOp() | graph.FusionOp():
            return f"{name} is a fusion already"
    return f"{user.name} {name} does not commute with it"


PASS = CancelTransposesPass
