"""graph-fuse-single: every op that computes and stands alone gets a fusion, so that all code generation starts from fusions.

```mlir
%1 = graph.pool max %0 kernel [4, 4] strides [4, 4] .. channels_last : tensor<8x8x8x64xf32> -> tensor<8x2x2x64xf32>
```
becomes
```mlir
%1 = graph.fusion "pool" (%x = %0 : tensor<8x8x8x64xf32>) -> (tensor<8x2x2x64xf32>) {
  %y = graph.pool max %x ..
  graph.yield %y : tensor<8x2x2x64xf32>
}
```

Weights and reshapes stay outside: they are no work. A broadcast and a constant go into the fusions that use them.
"""

from __future__ import annotations

from xdsl.ir import Operation

from stepwell.dialects import graph
from stepwell.passes import Rewriter, rewrite
from stepwell.transforms.graph._outline import Feeding, outline
from stepwell.transforms.graph._values import elements_of, in_fusion, is_dead, shape_of, users
from stepwell.transforms.graph_to_loops.counted import Counted, Ending

Reducing = graph.ArgReduceOp | graph.NormalizeOp | graph.ReduceOp | graph.SoftmaxOp
"""Ops that fold whole dims, and what is made of it."""
Computing = (
    graph.AttentionOp
    | graph.BatchNormOp
    | graph.BinaryOp
    | graph.BitcastOp
    | graph.CastOp
    | graph.CompareOp
    | graph.ConcatOp
    | graph.ConvOp
    | graph.ConvTransposeOp
    | graph.DequantizeOp
    | graph.GatherOp
    | graph.IotaOp
    | graph.LrnOp
    | graph.MatmulOp
    | graph.PadOp
    | graph.PoolOp
    | graph.QuantizeOp
    | graph.ResizeOp
    | graph.ReverseOp
    | graph.SampleOp
    | graph.SelectOp
    | graph.SliceOp
    | graph.TransposeOp
    | graph.UnaryOp
    | Reducing
)
"""Ops that are work of their own."""
Alone = (
    graph.ArgPoolOp
    | graph.CumulativeOp
    | graph.DeterminantOp
    | graph.DftOp
    | graph.GruOp
    | graph.LinearAttentionOp
    | graph.LstmOp
    | graph.RandomOp
    | graph.RnnOp
    | graph.RoiPoolOp
    | graph.ScatterOp
    | graph.TopKOp
    | Counted
    | Ending
)
"""Ops without a form in linalg: each is alone in its fusion, or behind the op that counts what it ends."""


@rewrite("graph-fuse-single", level="graph", meaning="exact")
def fuse_single(op: Computing | Alone | Feeding, rewriter: Rewriter) -> None:
    """Put an op that computes and is in no fusion yet into one. See the file's head.

    Remarks: passed per op, missed for a transpose, which costs a kernel that only moves data."""
    if in_fusion(op) or is_dead(op):
        return
    if isinstance(op, Feeding) and all(_takes_along(user) for user in users(op)):
        return
    if isinstance(op, graph.TransposeOp):
        rewriter.missed(
            f"a transpose remains: one kernel that only moves {_amount(op)} elements",
            hint="no op behind it commutes with it, or it is an output of the network",
        )
    else:
        rewriter.passed(f"{op.name} is a kernel of its own")
    if isinstance(op, Ending) and isinstance(op.operand.owner, Counted):
        _outline_counted(op, op.operand.owner, rewriter)
    elif not isinstance(op, Counted):
        outline([op], rewriter, op)


def _outline_counted(op: Ending, counted: Counted, rewriter: Rewriter) -> None:
    """What counts goes along with each op that ends its counted dim."""
    copy = counted.clone()
    rewriter.insert_before(op, copy)
    op.operands[0] = copy.results[0]
    if is_dead(counted):
        rewriter.erase(counted)
    outline([copy, op], rewriter, op)


def _amount(op: graph.TransposeOp) -> str:
    count = elements_of(shape_of(op.result))
    return "many" if count is None else str(count)


def _takes_along(user: Operation) -> bool:
    """True when `user` will take what feeds it into its own fusion."""
    return isinstance(user, Computing | graph.BroadcastOp) and not in_fusion(user)


PASS = fuse_single
