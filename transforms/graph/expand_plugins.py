"""graph-expand-plugins: the op of a plugin becomes the ops that the plugin says it means.

```mlir
%y = graph.custom "Mish" version "1" from "examples" (%x) {} : (tensor<4xf32>) -> tensor<4xf32>
```
becomes
```mlir
%0 = graph.unary softplus %x : tensor<4xf32> -> tensor<4xf32>
%1 = graph.unary tanh %0 : tensor<4xf32> -> tensor<4xf32>
%y = graph.binary mul %x, %1 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
```
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import graph
from stepwell.dialects.graph.plugin_record import record_plugin
from stepwell.dialects.graph.plugins import DEEPEST, Expanding
from stepwell.dialects.weights import WeightStore
from stepwell.passes import Meaning, PassFailure, StepwellContext, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Kind, Remark


@dataclass(frozen=True)
class ExpandPluginsPass(StepwellPass):
    """Write plugins' ops in graph ops. See the file's head for the IR before and after.

    The ops stand at the location of what they replace; the module's `stepwell.plugins` says which plugin with which parameters that was. Remarks: passed for each op, missed where the plugin is not loaded or says its meaning in no
    ops. Refused: a meaning that cannot be built, or that expands into itself."""

    name = "graph-expand-plugins"
    level: ClassVar[str] = "graph"
    meaning: ClassVar[Meaning] = "rounds"
    rtol: ClassVar[float] = 1e-3

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Round by round, until no op is left that can be expanded: meanings may name other plugins."""
        held = ctx.weights if isinstance(ctx, StepwellContext) else None
        store = WeightStore() if held is None else held
        remarks = remarks_of(ctx)
        for depth in range(DEEPEST + 1):
            found = [inner for inner in op.walk() if isinstance(inner, graph.CustomOp)]
            here = [inner for inner in found if not inner.why_not_expanded()]
            if depth == DEEPEST and here:
                raise PassFailure(f"the plugin's ops hold ops of plugins, {DEEPEST} levels deep", op=here[0])
            for inner in here:
                record_plugin(op, inner)
                self._expand(inner, store)
                remarks.add(_remark("passed", inner, "became the ops that it means"))
            if not here:
                break
        for inner in [inner for inner in found if inner.linking is None]:
            remarks.add(_remark("missed", inner, inner.why_not_expanded()))
        if isinstance(ctx, StepwellContext) and ctx.weights is None and len(store):
            ctx.weights = store

    def _expand(self, op: graph.CustomOp, store: WeightStore) -> None:
        plugin, block = op.definition, Block()
        assert isinstance(plugin, Expanding)
        try:
            results = plugin.expand(op, op.parameters.data, store, block)
        except VerifyException as error:
            raise PassFailure(str(error), op=op, hint="mend the plugin's ops") from error
        for old, new in zip(op.results, results, strict=True):
            new.name_hint = new.name_hint or old.name_hint
        made = list(block.ops)
        for inner in made:
            inner.detach()
        Rewriter.insert_op(made, InsertPoint.before(op))
        Rewriter.replace_op(op, [], results)


def _remark(kind: Kind, op: graph.CustomOp, message: str) -> Remark:
    return Remark(kind, ExpandPluginsPass.name, names_of(op), f'plugin "{op.plugin.data}" {message}')


PASS = ExpandPluginsPass
