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
from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType
from xdsl.rewriter import InsertPoint

from stepwell.dialects import graph, tile
from stepwell.dialects.tile.kernel_rules import target_of
from stepwell.passes import Meaning, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.linalg._structure import refuse, structure_of
from stepwell.transforms.linalg_to_tile.kernel_plan import checked_kernel, plan_kernel
from stepwell.transforms.linalg_to_tile.kernels import Plan
from stepwell.transforms.linalg_to_tile.operands import host_value, reshaped
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
        target = target_of(op)
        fusions = [inner for inner in op.walk() if isinstance(inner, graph.FusionOp)]
        taken = taken_symbols(op)
        plans = [_planned(fusion, taken) for fusion in fusions]
        kernels = [checked_kernel(plan, target) if isinstance(plan, Plan) else plan for plan in plans]
        for fusion, plan, kernel in zip(fusions, plans, kernels, strict=True):
            name, names = kernel.sym_name.data, names_of(fusion)
            if isinstance(plan, Plan):
                apply_kernel(plan)
            else:
                apply_loops(fusion, name)
            work = describe(plan) if isinstance(plan, Plan) else "element by element"
            remarks_of(ctx).add(Remark("analysis", NAME, names, f"kernel @{name}, {work}"))
        for fusion in fusions:
            fusion.detach()
            fusion.erase()
        first = op.body.block.first_op
        place = InsertPoint.before(first) if first is not None else InsertPoint.at_end(op.body.block)
        Builder(place).insert(kernels)
        remove_unused(op)
        op.attributes["stepwell.level"] = StringAttr("tile")


def _planned(fusion: graph.FusionOp, taken: set[str]) -> Plan | tile.LoopsOp:
    """Name the kernel of a fusion and analyse it, or make its loops; the name is added to `taken`."""
    config = fusion.config
    loops = isinstance(config, tile.ConfigAttr) and config.data.form == "loops"
    structure = None if loops else structure_of(fusion)
    if not isinstance(config, tile.ConfigAttr):
        raise refuse(fusion, "the fusion has no #tile.config", "run linalg-choose-config before")
    name = new_symbol(fusion.fusion_name.data, taken)
    return build_loops(fusion, config, name) if structure is None else plan_kernel(structure, config.data, name)


def build_loops(fusion: graph.FusionOp, config: tile.ConfigAttr, name: str) -> tile.LoopsOp:
    """The body of a fusion as a kernel of its own."""
    body = fusion.body.clone()
    last = body.block.last_op
    assert isinstance(last, graph.YieldOp)
    end = tile.YieldOp(*last.values)
    end.location = last.location
    body.block.add_op(end)
    last.detach()
    last.erase()
    loops = tile.LoopsOp(name, [v.type for v in fusion.inputs], [r.type for r in fusion.outputs], config, body)
    inherit_location(loops, fusion)
    return loops


def describe(plan: Plan) -> str:
    """What kind of kernel it is, in a few words."""
    structure = plan.structure
    work = "elementwise" if structure.root is None else "reduction in registers"
    if plan.config.mma != "none":
        work = f"matrix product by {plan.config.mma}"
    return f"{work}, {len(structure.leaves)} epilogue operands"


def apply_kernel(plan: Plan) -> None:
    """Replace the uses of the fusion's results by the application of its kernel, reshaped as they were."""
    structure = plan.structure
    fusion = structure.fusion
    build = Builder(InsertPoint.before(fusion), operation_insertion_handler=[lambda op: inherit_location(op, fusion)])
    inputs = [host_value(structure, operand, build) for operand in plan.operands]
    shape = [structure.extent(group) for group in plan.groups]
    types = []
    for result in fusion.outputs:
        assert isinstance(result.type, TensorType)
        types.append(TensorType(result.type.element_type, shape))
    apply = build.insert(tile.ApplyOp(plan.name, inputs, types))
    for result, made in zip(fusion.outputs, apply.results, strict=True):
        assert isinstance(result.type, TensorType)
        result.replace_all_uses_with(reshaped(made, result.type.get_shape(), build))


def apply_loops(fusion: graph.FusionOp, name: str) -> None:
    """Replace the uses of the fusion's results by the application of its loops."""
    apply = tile.ApplyOp(name, list(fusion.inputs), [result.type for result in fusion.outputs])
    inherit_location(apply, fusion)
    Builder(InsertPoint.before(fusion)).insert(apply)
    for result, made in zip(fusion.outputs, apply.results, strict=True):
        result.replace_all_uses_with(made)


def remove_unused(module: ModuleOp) -> None:
    """Drop weights and reshapes that nothing uses any more."""
    for op in reversed(list(module.walk())):
        if isinstance(op, graph.WeightOp | graph.ReshapeOp) and not op.results[0].uses.get_length():
            op.detach()
            op.erase()


PASS = ConvertLinalgToTilePass
