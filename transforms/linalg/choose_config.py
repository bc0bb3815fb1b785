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

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import graph
from stepwell.dialects.tile import Config, ConfigAttr
from stepwell.dialects.tile.kernel_rules import target_name_of
from stepwell.passes import Meaning, PassFailure, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark, RemarkCollector
from stepwell.runtime.errors import UsageError
from stepwell.transforms.linalg._stages import stages_of
from stepwell.transforms.linalg.families.base import Setting, microseconds
from stepwell.transforms.linalg.families.rules import shapeless
from stepwell.transforms.linalg.families.table import LAST, Answer, answer, given_violations
from stepwell.types.targets import COMPILED

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
        target = self.target or target_name_of(op)
        if target not in COMPILED:
            raise UsageError(
                f"the target is {target or 'not given'}: it is one of {', '.join(COMPILED)}",
                where=NAME,
                hint="set stepwell.target on the module or pass target=",
            )
        setting = Setting(target, self.tf32)
        fusions = [inner for inner in op.walk() if isinstance(inner, graph.FusionOp)]
        chosen = [_config(fusion, setting, remarks_of(ctx)) for fusion in fusions]
        for fusion, config in zip(fusions, chosen, strict=True):
            fusion.config = ConfigAttr(config)


def _config(fusion: graph.FusionOp, setting: Setting, remarks: RemarkCollector) -> Config:
    names = names_of(fusion) or (fusion.fusion_name.data,)
    if fusion.config is not None:
        config = _kept(fusion, setting, names)
        remarks.add(Remark("passed", NAME, names, f"kept the given config: {config}"))
        return config
    found = answer(stages_of(fusion), setting)
    for message in missed(found, setting):
        remarks.add(Remark("missed", NAME, names, message))
    remarks.add(Remark("passed", NAME, names, told(found)))
    return found.chosen.config


def _kept(fusion: graph.FusionOp, setting: Setting, names: tuple[str, ...]) -> Config:
    """The config that the fusion has already; PassFailure with every reason when it is illegal."""
    if not isinstance(fusion.config, ConfigAttr):
        raise PassFailure(f"its config is {fusion.config}: a #tile.config is wanted", where=fusion.fusion_name.data)
    config = fusion.config.data
    if reasons := list(given_violations(stages_of(fusion), config, setting)):
        told = "; ".join(dict.fromkeys(reasons))
        raise PassFailure(f"its config is illegal on {setting.processor}: {told}", where=" + ".join(names))
    return config


def told(found: Answer) -> str:
    """What was chosen, what decided it, and among how many."""
    chosen, count = found.chosen, len(found.candidates)
    among = f"the one candidate of {chosen.family}" if count == 1 else f"{chosen.id} of {count} candidates"
    return f"{chosen.config}: {chosen.why}; {among}, estimated at {microseconds(chosen.estimate_ns)}"


def missed(found: Answer, setting: Setting) -> list[str]:
    """Why it is no tile kernel, or no matrix product where it looks like one."""
    if found.chosen.family == LAST.name:
        reasons = [refused.reason for refused in found.refused if refused.id] or list(shapeless(found.stages))
        return [f"no tiles: {'; '.join(dict.fromkeys(reasons))}"]
    structure = found.stages.structure
    if structure is None or structure.roles is None:
        return []
    return [refused.reason for refused in found.refused if refused.family in setting.machine.products]


PASS = ChooseConfigPass
