"""graph-fold-weight-transforms: what is done to a weight becomes steps of its recipe, evaluated once when a plan is built.

```mlir
%w = graph.weight #graph.weight<"fc", "..", tensor<256x64xf32>, []> : tensor<256x64xf32>
%t = graph.transpose %w [1, 0] : tensor<256x64xf32> -> tensor<64x256xf32>
```
becomes
```mlir
%t = graph.weight #graph.weight<"fc", "..", tensor<256x64xf32>, [#graph.step<"transpose", [1, 0]>]> : tensor<64x256xf32>
```

Needs no values: the recipe is data. Steps that undo each other vanish (`WeightAttr.then`).
"""

from __future__ import annotations

from stepwell.dialects import graph
from stepwell.passes import Rewriter, inherit_location, rewrite
from stepwell.transforms.graph._values import in_fusion, is_dead, producer, shape_of
from stepwell.transforms.tensors import element_of

Folding = graph.TransposeOp | graph.ReshapeOp | graph.CastOp
"""Ops that a recipe has a step for."""


@rewrite("graph-fold-weight-transforms", level="graph", meaning="exact")
def fold_weight_transforms(op: Folding | graph.UnaryOp | graph.BinaryOp, rewriter: Rewriter) -> None:
    """Replace a transpose, reshape or cast of a weight by the weight with one more recipe step. See the file's head.

    Remarks: passed per step, missed for arithmetic on weights alone, which a recipe does not hold."""
    if not isinstance(op, Folding):
        if not in_fusion(op) and all(isinstance(operand.owner, graph.WeightOp) for operand in op.operands):
            rewriter.missed(
                f"{op.kind} of weights alone is computed in every run: recipes hold no arithmetic",
                hint="fold constants in the model before importing it",
            )
        return
    weight = producer(op.operand, graph.WeightOp)
    if weight is None:
        return
    match op:
        case graph.TransposeOp():
            step = graph.StepAttr("transpose", op.permutation)
        case graph.ReshapeOp():
            step = graph.StepAttr("reshape", shape_of(op.result))
        case graph.CastOp():
            step = graph.StepAttr("cast", [str(element_of(op.result))])
    folded = graph.WeightOp(weight.ref.then(step))
    folded.result.name_hint = weight.result.name_hint
    inherit_location(folded, weight)
    rewriter.replace(op, folded)
    rewriter.passed(f'{step.kind.data} of weight "{weight.ref.source.data}" became a recipe step')
    if is_dead(weight):
        rewriter.erase(weight)


PASS = fold_weight_transforms
