"""graph-fold-constants: what a product multiplies by and is known becomes a weight.

```mlir
%c = graph.constant 0.5 : tensor<f32>
%w = graph.broadcast %c dims [] : tensor<f32> -> tensor<4x3x3x3xf32>
%y = graph.conv %x, %w ..
```
becomes
```mlir
%w = graph.weight #graph.weight<"conv.filter#77..", ..> : tensor<4x3x3x3xf32>
%y = graph.conv %x, %w ..
```
A weight is repacked while the plan is built, a tensor that is computed is not, and then no product of the target reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import graph
from stepwell.dialects.weights import WeightStore
from stepwell.passes import Meaning, StepwellContext, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.graph._constants import erase_unused, is_known, store_of, value_of
from stepwell.transforms.graph._values import in_fusion, is_constant

Product = graph.ConvOp | graph.ConvTransposeOp | graph.MatmulOp


@dataclass(frozen=True)
class FoldConstantsPass(StepwellPass):
    """Make weights of the filters that are constants, repeated or put together of them. See the file's head.

    Remarks: passed for each, missed where it takes the value of a weight that is not given."""

    name = "graph-fold-constants"
    level: ClassVar[str] = "graph"
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        held = store_of(ctx)
        store = WeightStore() if held is None else held
        for inner in [inner for inner in op.walk() if isinstance(inner, Product)]:
            filter = inner.operands[1]
            if in_fusion(inner) or is_constant(filter) or not is_known(filter):
                continue
            array, names = value_of(filter, held), names_of(inner)
            if array is None:
                remarks_of(ctx).add(Remark("missed", self.name, names, "its filter is made of a weight that is not given", "--weights FILE"))  # fmt: skip
                continue
            weight = graph.WeightOp(store.add_by_content(f"{' + '.join(names) or inner.name}.filter", array))
            inherit_location(weight, inner)
            Rewriter.insert_op(weight, InsertPoint.before(inner))
            inner.operands[1] = weight.result
            erase_unused(filter.owner)
            remarks_of(ctx).add(Remark("passed", self.name, names, "its filter became a weight"))
        if isinstance(ctx, StepwellContext) and ctx.weights is None and len(store):
            ctx.weights = store


PASS = FoldConstantsPass
