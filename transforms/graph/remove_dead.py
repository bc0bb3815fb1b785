"""graph-remove-dead: ops whose results nobody uses go, with what only they used (TensorRT's dead-layer removal).

```mlir
%1 = graph.unary relu %0 : tensor<4xf32> -> tensor<4xf32>     // unused
func.return %0 : tensor<4xf32>
```
becomes
```mlir
func.return %0 : tensor<4xf32>
```
"""

from __future__ import annotations

from stepwell.dialects import graph
from stepwell.passes import Rewriter, rewrite
from stepwell.transforms.graph._values import is_dead

Removable = (
    graph.BinaryOp
    | graph.BroadcastOp
    | graph.CastOp
    | graph.ConvOp
    | graph.FusionOp
    | graph.MatmulOp
    | graph.PoolOp
    | graph.ReshapeOp
    | graph.TransposeOp
    | graph.UnaryOp
    | graph.WeightOp
)


@rewrite("graph-remove-dead", level="graph", meaning="exact")
def remove_dead(op: Removable, rewriter: Rewriter) -> None:
    """Remove an op whose results are not used. See the file's head."""
    if is_dead(op):
        rewriter.passed(f"removed {op.name}: its result is not used")
        rewriter.erase(op)


PASS = remove_dead
