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

from xdsl.dialects import func

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import argument_names
from stepwell.passes import Rewriter, rewrite
from stepwell.transforms.graph._outline import Feeding
from stepwell.transforms.graph._values import is_dead
from stepwell.transforms.graph.fuse_single import Alone, Computing

Removable = Computing | Alone | Feeding | graph.FusionOp | graph.ReshapeOp | graph.WeightOp


@rewrite("graph-remove-dead", level="graph", meaning="exact")
def remove_dead(op: Removable | func.FuncOp, rewriter: Rewriter) -> None:
    """Remove an op whose results are not used. See the file's head.

    Remarks: passed per op, missed for an input of the network that nothing reads; it stays, callers pass it."""
    if isinstance(op, func.FuncOp):
        for name, argument in zip(argument_names(op), op.body.block.args, strict=True):
            if not argument.uses:
                rewriter.missed(f"input {name!r} is read by nothing", hint="remove it from the model")
        return
    if is_dead(op):
        rewriter.passed(f"removed {op.name}: its result is not used")
        rewriter.erase(op)


PASS = remove_dead
