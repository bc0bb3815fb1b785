"""`stepwell-convert-linalg-to-tile`: every fusion becomes a kernel and its application.

```mlir
%y = graph.fusion "fc" (%a = %x : tensor<4x8xf32>, %b = %w : tensor<3x8xf32>) -> (tensor<4x3xf32>)
    config #tile.config<block = [4, 16], mma = fma> { linalg.generic (m, n, k), graph.yield }
```
becomes
```mlir
tile.kernel @fc(%x: !tile.ref<3xf32, plain>, %w: !tile.ref<3xf32, packed<16>, constant>) -> (%y: !tile.ref<2xf32, plain>) config .. {
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [4, 16] {
    %zero = tile.fill 0.0 : f32 -> !tile.tile<4x16xf32, regs>
    %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 1] iter (%c = %zero) -> !tile.tile<4x16xf32, regs> { load x, load w, mma }
    tile.store %acc, %y[%i, %j]
  }
}
%w2 = graph.weight #graph.weight<.., [reshape [3, 1, 8], pad [0, 16], panels [16]]> : tensor<1x1x8x16xf32>
%x2 = graph.reshape %x : tensor<4x8xf32> -> tensor<4x1x8xf32>
%y = tile.apply @fc(%x2, %w2) : (tensor<4x1x8xf32>, tensor<1x1x8x16xf32>) -> tensor<4x3xf32>
```
A tensor.pad becomes the pads and the fill of a `tile.window`; the elementwise generics after the root become one
`tile.map`. A fusion whose config says `form = loops` becomes a `tile.loops` of the same body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.rewriter import InsertPoint

from stepwell.dialects import graph, tile
from stepwell.dialects.tile.kernel_rules import target_name_of
from stepwell.passes import Meaning, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.linalg._stages import stages_of
from stepwell.transforms.linalg._structure import refuse
from stepwell.transforms.linalg.families.table import family_of
from stepwell.transforms.linalg_to_tile.written import Replacement
from stepwell.transforms.symbols import new_symbol, taken_symbols

NAME = "stepwell-convert-linalg-to-tile"


@dataclass(frozen=True)
class ConvertLinalgToTilePass(StepwellPass):
    """Make a kernel of every fusion by its `#tile.config` (run linalg-choose-config before), with weights repacked by
    recipe steps. Refuses, before anything is changed, fusions that are not one kernel and configs that do not fit.
    Remarks: analysis, what the kernel is."""

    name = NAME
    level: ClassVar[str] = "linalg"
    meaning: ClassVar[Meaning] = "reassociates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = target_name_of(op)
        fusions = [inner for inner in op.walk() if isinstance(inner, graph.FusionOp)]
        taken = taken_symbols(op)
        written = [_written(fusion, taken, target) for fusion in fusions]
        for fusion, one in zip(fusions, written, strict=True):
            one.apply()
            title = ", ".join(f"@{kernel.sym_name.data}" for kernel in one.kernels)
            remarks_of(ctx).add(Remark("analysis", NAME, names_of(fusion), f"kernel {title}, {one.work}"))
        for fusion in fusions:
            fusion.detach()
            fusion.erase()
        first = op.body.block.first_op
        place = InsertPoint.before(first) if first is not None else InsertPoint.at_end(op.body.block)
        Builder(place).insert([kernel for one in written for kernel in one.kernels])
        remove_unused(op)
        op.attributes["stepwell.level"] = StringAttr("tile")


def _written(fusion: graph.FusionOp, taken: set[str], target: str | None) -> Replacement:
    """The kernels of a fusion, by the family that its config belongs to; their names are added to `taken`."""
    stages = stages_of(fusion)
    if not isinstance(fusion.config, tile.ConfigAttr):
        raise refuse(fusion, "the fusion has no #tile.config", "run linalg-choose-config before")
    config = fusion.config.data
    family = family_of(stages, config)
    if family is None:
        raise refuse(fusion, stages.refusal or f"no family of schedules has such a config for it: {config}")
    name = new_symbol(fusion.fusion_name.data, taken)
    written = family.write(stages, config, name, target)
    for kernel in written.kernels[1:]:
        kernel.sym_name = StringAttr(new_symbol(name, taken))
    return written


def remove_unused(module: ModuleOp) -> None:
    """Drop weights and reshapes that nothing uses any more."""
    for op in reversed(list(module.walk())):
        if isinstance(op, graph.WeightOp | graph.ReshapeOp) and not op.results[0].uses.get_length():
            op.detach()
            op.erase()


PASS = ConvertLinalgToTilePass
