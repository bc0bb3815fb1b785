"""`stepwell-convert-graph-to-linalg`: the bodies of fusions become linalg.

```mlir
%y = graph.fusion "fc" (%a = %x : tensor<4x8xf32>, %b = %w : tensor<3x8xf32>) -> (tensor<4x3xf32>) {
  %0 = graph.matmul %a, %b transpose_b : (tensor<4x8xf32>, tensor<3x8xf32>) -> tensor<4x3xf32>
  graph.yield %0 : tensor<4x3xf32>
}
```
becomes
```mlir
%y = graph.fusion "fc" (%a = %x : tensor<4x8xf32>, %b = %w : tensor<3x8xf32>) -> (tensor<4x3xf32>) {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<4x3xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x3xf32>) -> tensor<4x3xf32>
  %0 = linalg.generic {indexing_maps = [(m, n, k) -> (m, k), (m, n, k) -> (n, k), (m, n, k) -> (m, n)],
                       iterator_types = ["parallel", "parallel", "reduction"]}
       ins(%a, %b : ..) outs(%init : ..) { mulf, addf, linalg.yield } -> tensor<4x3xf32>
  graph.yield %0 : tensor<4x3xf32>
}
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph
from stepwell.passes import Meaning, PassFailure, StepwellPass, names_of
from stepwell.transforms.graph_to_linalg.graph_ops import CONVERSIONS
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder
from stepwell.transforms.graph_to_loops.table import ops_of_loops


@dataclass(frozen=True)
class ConvertGraphToLinalgPass(StepwellPass):
    """Lower the body of every graph.fusion to linalg.generic, linalg.fill and tensor ops; the fusion stays as the
    container, weights and reshapes stay outside. An op that is written as plain loops later stays, alone
    in its fusion. Refuses a graph op outside of a fusion (run graph-fuse-single) and other ops without a structured form."""

    name = "stepwell-convert-graph-to-linalg"
    level: ClassVar[str] = "graph"
    meaning: ClassVar[Meaning] = "reassociates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        _refuse(op)
        for fusion in [inner for inner in op.walk() if isinstance(inner, graph.FusionOp)]:
            convert_fusion(fusion)
        op.attributes["stepwell.level"] = StringAttr("linalg")


def convert_fusion(fusion: graph.FusionOp) -> None:
    """Convert the graph ops of one fusion, in order."""
    for op in list(fusion.body.block.ops):
        convert = CONVERSIONS.get(type(op))
        if convert is None:
            continue
        made = convert(op, op.operands, LinalgBuilder(op))
        for result, value in zip(op.results, [made] if isinstance(made, SSAValue) else made, strict=True):
            result.replace_all_uses_with(value)
        op.detach()
        op.erase()


def _refuse(module: ModuleOp) -> None:
    """Raise before anything is changed when an op cannot be converted."""
    allowed_outside = (graph.WeightOp, graph.ReshapeOp, graph.FusionOp, graph.YieldOp)
    for op in module.walk():
        if op.name.partition(".")[0] != "graph" or isinstance(op, graph.FusionOp | graph.YieldOp):
            continue
        if not isinstance(op.parent_op(), graph.FusionOp):
            if isinstance(op, allowed_outside) or (isinstance(op, graph.CustomOp) and op.linking is not None):
                continue
            raise PassFailure(
                f"{op.name} stands outside of a graph.fusion", where=_where(op), hint="run graph-fuse-single before"
            )
        if isinstance(op, graph.AttentionOp):
            continue
        fusion = op.parent_op()
        if type(op) not in CONVERSIONS and not (isinstance(fusion, graph.FusionOp) and op in ops_of_loops(fusion)):
            raise PassFailure(f"{op.name} has no structured form in a fusion", where=_where(op))


def _where(op: Operation) -> str:
    return " + ".join(names_of(op)) or op.name


PASS = ConvertGraphToLinalgPass
