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
`tile.map`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType
from xdsl.rewriter import InsertPoint
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import graph, tile
from stepwell.dialects.tile.config import violations
from stepwell.dialects.tile.kernel_rules import target_of
from stepwell.dialects.tile.registers import facts_of
from stepwell.passes import Meaning, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.remarks import Remark
from stepwell.transforms.linalg._structure import refuse, structure_of
from stepwell.transforms.lower._tile_kernels import Plan, build_kernel
from stepwell.transforms.lower._tile_operands import host_value, operands_of, reshaped

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
        taken = {inner.sym_name.data for inner in op.ops if isinstance(inner, tile.KernelOp)}
        plans = [plan_kernel(fusion, taken) for fusion in fusions]
        kernels = [checked_kernel(plan, target) for plan in plans]
        for plan in plans:
            apply_kernel(plan)
            names = names_of(plan.structure.fusion)
            remarks_of(ctx).add(Remark("analysis", NAME, names, f"kernel @{plan.name}, {describe(plan)}"))
        for plan in plans:
            plan.structure.fusion.detach()
            plan.structure.fusion.erase()
        first = op.body.block.first_op
        place = InsertPoint.before(first) if first is not None else InsertPoint.at_end(op.body.block)
        Builder(place).insert(kernels)
        remove_unused(op)
        op.attributes["stepwell.level"] = StringAttr("tile")


def plan_kernel(fusion: graph.FusionOp, taken: set[str]) -> Plan:
    """Analyse a fusion and name its kernel; the name is added to `taken`."""
    structure = structure_of(fusion)
    if not isinstance(fusion.config, tile.ConfigAttr):
        raise refuse(fusion, "the fusion has no #tile.config", "run linalg-choose-config before")
    groups = structure.groups()
    groups = groups if len(groups) > 1 else ((),) * (2 - len(groups)) + groups
    if len(groups) > 4:
        raise refuse(fusion, f"its operands cut the result into {len(groups)} dims, tiles have up to 4")
    config = fusion.config.data
    if len(config.block) != len(groups):
        raise refuse(fusion, f"block = {list(config.block)}, the kernel writes {len(groups)} dims")
    name = symbol_for(fusion.fusion_name.data, taken)
    taken.add(name)
    return Plan(name, structure, config, operands_of(structure, config, groups), groups)


def symbol_for(name: str, taken: set[str]) -> str:
    """An identifier like `name` that is not taken."""
    stem = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "kernel"
    stem = f"k{stem}" if stem[0].isdigit() else stem
    candidates = (stem if not number else f"{stem}_{number}" for number in range(len(taken) + 1))
    return next(candidate for candidate in candidates if candidate not in taken)


def checked_kernel(plan: Plan, target: str | None) -> tile.KernelOp:
    """The kernel, verified for the target; PassFailure with the verifier's reason otherwise."""
    kernel = build_kernel(plan)
    try:
        kernel.verify()
    except VerifyException as error:
        raise refuse(plan.structure.fusion, str(error).splitlines()[-1]) from error
    reasons = list(violations(plan.config, target, facts_of(kernel, target)))
    if reasons:
        raise refuse(plan.structure.fusion, f"its config is illegal on {target}: " + "; ".join(reasons))
    return kernel


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


def remove_unused(module: ModuleOp) -> None:
    """Drop weights and reshapes that nothing uses any more."""
    for op in reversed(list(module.walk())):
        if isinstance(op, graph.WeightOp | graph.ReshapeOp) and not op.results[0].uses.get_length():
            op.detach()
            op.erase()


PASS = ConvertLinalgToTilePass
