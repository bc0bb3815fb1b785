"""graph-assign-layout: convolutions and pools become channels_last, products take their weight as [N, K].

```mlir
%2 = graph.conv %0, %1 strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] channels_first
     : (tensor<8x32x4x4xf32>, tensor<64x32x3x3xf32>) -> tensor<8x64x4x4xf32>
```
becomes
```mlir
%a = graph.transpose %0 [0, 2, 3, 1] : tensor<8x32x4x4xf32> -> tensor<8x4x4x32xf32>
%b = graph.transpose %1 [0, 2, 3, 1] : tensor<64x32x3x3xf32> -> tensor<64x3x3x32xf32>
%c = graph.conv %a, %b strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] channels_last
     : (tensor<8x4x4x32xf32>, tensor<64x3x3x32xf32>) -> tensor<8x4x4x64xf32>
%2 = graph.transpose %c [0, 3, 1, 2] : tensor<8x4x4x64xf32> -> tensor<8x64x4x4xf32>
```

Channels innermost and [N, K] weights are what the kernels read: consecutive bytes along K on both sides (K-major). The transposes then
cancel by `graph-cancel-transposes`, which this pass runs, so that only those that nothing can absorb remain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import graph
from stepwell.passes import Meaning, Rewriter, StepwellPass, rewrite
from stepwell.transforms.graph._values import in_fusion, is_constant, shape_of
from stepwell.transforms.graph.cancel_transposes import CancelTransposesPass
from stepwell.transforms.tensors import element_of

LAST = "channels_last"


def to_last(rank: int) -> list[int]:
    """The permutation [N,C,*] -> [N,*,C]."""
    return [0, *range(2, rank), 1]


def to_first(rank: int) -> list[int]:
    """The permutation [N,*,C] -> [N,C,*]."""
    return [0, rank - 1, *range(1, rank - 1)]


@rewrite("graph-assign-layout", level="graph", meaning="reassociates")
def insert_transposes(op: graph.ConvOp | graph.PoolOp | graph.MatmulOp, rewriter: Rewriter) -> None:
    """Change layouts and put transposes around; nothing cancels yet."""
    if in_fusion(op):
        return
    if isinstance(op, graph.MatmulOp):
        _transpose_weight(op, rewriter)
        return
    if op.layout == LAST:
        return
    rank = len(op.strides) + 2
    there, back = to_last(rank), to_first(rank)
    x = graph.TransposeOp(op.input, there)
    window = {"strides": op.strides, "pads": op.pads, "dilations": op.dilations, "layout": LAST}
    if isinstance(op, graph.ConvOp):
        filter = graph.TransposeOp(op.filter, there)
        conv = graph.ConvOp(x, filter, groups=op.groups, element_type=element_of(op.result), **window)
        rewriter.replace(op, [x, filter, conv, graph.TransposeOp(conv, back)])
    else:
        pool = graph.PoolOp(
            x, kind=op.kind, kernel=op.kernel, ceil=op.ceil, count_include_pad=op.count_include_pad, **window
        )  # fmt: skip
        rewriter.replace(op, [x, pool, graph.TransposeOp(pool, back)])
    rewriter.passed(f"laid out {LAST}")


def _transpose_weight(op: graph.MatmulOp, rewriter: Rewriter) -> None:
    if op.transpose_b:
        return
    if not is_constant(op.b):
        rewriter.missed(
            "the right operand stays [K, N]: it is computed, so turning it would move data",
            hint="kernels read [N, K]; give the model the transposed operand",
        )
        return
    rank = len(shape_of(op.b))
    weight = graph.TransposeOp(op.b, (*range(rank - 2), rank - 1, rank - 2))
    product = graph.MatmulOp(op.a, weight, transpose_b=True, element_type=element_of(op.result))
    rewriter.replace(op, [weight, product])
    rewriter.passed("the weight is read as [N, K]")


@dataclass(frozen=True)
class AssignLayoutPass(StepwellPass):
    """Make every convolution and pool channels_last and every product's weight K-major, then cancel transposes.

    Remarks: passed per op, missed where a product's right operand is computed. Sums may run in another order afterwards. See the
    file's head for the IR before and after."""

    name = "graph-assign-layout"
    level: ClassVar[str] = "graph"
    meaning: ClassVar[Meaning] = "reassociates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Insert, then cancel."""
        insert_transposes().apply(ctx, op)
        CancelTransposesPass().apply(ctx, op)


PASS = AssignLayoutPass
