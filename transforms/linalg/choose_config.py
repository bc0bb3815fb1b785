"""`linalg-choose-config`: put a schedule on every fusion.

```mlir
%y = graph.fusion "conv2" (%a = %x : .., %b = %w : ..) -> (tensor<128x8x8x64xf32>) { linalg.generic .. }
```
becomes, for sm_90a,
```mlir
%y = graph.fusion "conv2" (%a = %x : .., %b = %w : ..) -> (tensor<128x8x8x64xf32>)
    config #tile.config<block = [64, 64], k = 32, stages = 4, warps = 8, copy = tma_im2col, mma = wgmma, swizzle = 128> { .. }
```
A config that is there already is kept when it is legal, and an error with the reason when it is not. A fusion that has no form in
tiles gets `form = loops`, which takes everything; a remark says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import FixedBitwidthType, ModuleOp, TensorType
from xdsl.dialects.linalg.ops import GenericOp

from stepwell.dialects import graph
from stepwell.dialects.linalg_interpreter import loop_extents
from stepwell.dialects.tile import Config, ConfigAttr
from stepwell.dialects.tile.config import Facts, violations
from stepwell.dialects.tile.kernel_rules import target_of
from stepwell.passes import Meaning, PassFailure, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark, RemarkCollector
from stepwell.runtime.errors import UsageError
from stepwell.transforms.linalg._eligible import element_size, is_plain, mma_refusals
from stepwell.transforms.linalg._roles import reduction_loops
from stepwell.transforms.linalg._schedule import Extents, fma_config, loops_config, vector_config, wgmma_config
from stepwell.transforms.linalg._structure import Structure, structure_of
from stepwell.transforms.linalg_to_tile.kernel_plan import tile_refusal
from stepwell.types.targets import COMPILED, SM_90A

NAME = "linalg-choose-config"


@dataclass(frozen=True)
class ChooseConfigPass(StepwellPass):
    """Choose a `#tile.config` for each fusion by a cost model of the target. Options: `target` (sm_90a, x86-64-v4,
    x86-64-v3; default: what the module's `stepwell.target` and `stepwell.cpu` say), `tf32` (false: f32 products stay
    off the tensor cores). Remarks: passed with the config and what decided it; missed where the matrix instructions are
    refused, with the reason."""

    name = NAME
    level: ClassVar[str] = "linalg"
    meaning: ClassVar[Meaning] = "exact"

    target: str = ""
    tf32: bool = True

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = self.target or target_of(op)
        if target not in COMPILED:
            raise UsageError(
                f"the target is {target or 'not given'}: it is one of {', '.join(COMPILED)}",
                where=NAME,
                hint="set stepwell.target on the module or pass target=",
            )
        fusions = [inner for inner in op.walk() if isinstance(inner, graph.FusionOp)]
        chosen = [self._choose(fusion, target, remarks_of(ctx)) for fusion in fusions]
        for fusion, config in zip(fusions, chosen, strict=True):
            fusion.config = ConfigAttr(config)

    def _choose(self, fusion: graph.FusionOp, target: str, remarks: RemarkCollector) -> Config:
        names = names_of(fusion) or (fusion.fusion_name.data,)
        if fusion.config is not None:
            return self._keep(fusion, target, remarks)
        try:
            config, why, missed = self._tiles(fusion, target)
            reason = tile_refusal(structure_of(fusion), config, target)
        except PassFailure as failure:
            reason = failure.message
        if reason:
            config, why, missed = (
                loops_config(_steps(fusion), target),
                "one element after the other",
                [f"no tiles: {reason}"],
            )
        for message in missed:
            remarks.add(Remark("missed", NAME, names, message))
        remarks.add(Remark("passed", NAME, names, f"{config}: {why}"))
        return config

    def _keep(self, fusion: graph.FusionOp, target: str, remarks: RemarkCollector) -> Config:
        """The config that the fusion has already; PassFailure with every reason when it is illegal."""
        names, config = names_of(fusion) or (fusion.fusion_name.data,), _given(fusion)
        if config.form == "loops":
            reasons = list(violations(config, target))
        else:
            structure = structure_of(fusion)
            reasons = list(illegal(structure, config, target, list(mma_refusals(structure, target, tf32=self.tf32))))
        if reasons:
            raise PassFailure(f"its config is illegal on {target}: " + "; ".join(reasons), where=" + ".join(names))
        remarks.add(Remark("passed", NAME, names, f"kept the given config: {config}"))
        return config

    def _tiles(self, fusion: graph.FusionOp, target: str) -> tuple[Config, str, list[str]]:
        """The config of a tile kernel, what decided it, and why it is no matrix product where it looks like one."""
        structure = structure_of(fusion)
        refusals = list(mma_refusals(structure, target, tf32=self.tf32))
        config, why = choose(structure, target, refusals)
        return config, why, refusals if structure.root is not None and structure.roles is not None else []


def _steps(fusion: graph.FusionOp) -> int:
    """Steps of the reductions behind one element."""
    generics = [op for op in fusion.body.block.ops if isinstance(op, GenericOp)]
    return sum(prod(loop_extents(op)[loop] for loop in reduction_loops(op)) for op in generics)


def _given(fusion: graph.FusionOp) -> Config:
    if not isinstance(fusion.config, ConfigAttr):
        raise PassFailure(f"its config is {fusion.config}: a #tile.config is wanted", where=fusion.fusion_name.data)
    return fusion.config.data


def choose(structure: Structure, target: str, refusals: list[str]) -> tuple[Config, str]:
    """A legal config for `target`, and what decided it."""
    copy = "direct" if is_vectors(structure) else "pointer_table"
    if refusals:
        shape = kernel_shape(structure)
        config = vector_config(target, shape, copy, sum_size(structure))
        return config, f"no matrix product, {' x '.join(map(str, shape))} elements in vectors along the last dim"
    extents = product_extents(structure)
    size = f"m = {extents.m}, n = {extents.n}, k = {extents.taps} x {extents.k}"
    if target != "sm_90a":
        config = fma_config(extents, target, copy)
        return config, f"{size}: the panel that wastes least of {extents.n} columns"
    config = wgmma_config(extents, "tma" if is_plain(structure) else "tma_im2col")
    tiles = -(-extents.m // config.block[0]) * -(-extents.n // config.block[1])
    return (
        config,
        f"{size}: {tiles} tiles on {SM_90A.multiprocessors} multiprocessors, {config.swizzle} bytes of channels a step",
    )


def is_vectors(structure: Structure) -> bool:
    """Whether every operand is dense, so that no row pointers are needed."""
    return not structure.operands or is_plain(structure)


def sum_size(structure: Structure) -> int:
    """Bytes of what a reduction carries; 4 without one."""
    if structure.root is None:
        return 4
    type_ = structure.root.res[0].type
    assert isinstance(type_, TensorType) and isinstance(type_.element_type, FixedBitwidthType)
    return type_.element_type.size


def kernel_shape(structure: Structure) -> tuple[int, ...]:
    """The extents of the kernel's output ref: one per group of loops, two at least."""
    shape = tuple(structure.extent(group) for group in structure.groups())
    return shape if len(shape) > 1 else (1, *shape) if shape else (1, 1)


def product_extents(structure: Structure) -> Extents:
    """The extents of a matrix product and what its epilogue reads in whole tiles."""
    roles = structure.roles
    assert roles is not None
    residuals = sum(access.loops == structure.out for access in structure.leaves)
    m, n, taps, k = (structure.extent(loops) for loops in (roles.m, roles.n, roles.window, roles.k))
    return Extents(m, n, taps, k, element_size(structure.operands[0]), residuals)


def illegal(structure: Structure, config: Config, target: str, refusals: list[str]) -> Iterator[str]:
    """Why a given config does not fit the fusion on `target`."""
    shape = kernel_shape(structure)
    if len(config.block) != len(shape):
        yield f"block = {list(config.block)} has {len(config.block)} extents, the kernel writes {len(shape)} dims"
        return
    if config.mma != "none":
        yield from refusals
    facts = Facts()
    if config.mma != "none" and not refusals:
        size = element_size(structure.operands[0])
        facts = Facts(size, (config.block[-2] + config.block[-1]) * config.k * size if config.uses_wgmma else 0)
    yield from violations(config, target, facts)
    wanted = _copy(structure, config)
    if config.copy != wanted:
        yield f"copy = {config.copy}: this kernel's operands are read with copy = {wanted}"


def _copy(structure: Structure, config: Config) -> str:
    if config.uses_wgmma:
        return "tma" if is_plain(structure) else "tma_im2col"
    return config.copy if config.mma == "none" else "direct" if is_vectors(structure) else "pointer_table"


PASS = ChooseConfigPass
