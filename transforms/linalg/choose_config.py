"""`linalg-choose-config`: put a schedule on every fusion.

```mlir
%y = graph.fusion "conv2" (%a = %x : .., %b = %w : ..) -> (tensor<128x8x8x64xf32>) { linalg.generic .. }
```
becomes, for sm_90a,
```mlir
%y = graph.fusion "conv2" (%a = %x : .., %b = %w : ..) -> (tensor<128x8x8x64xf32>)
    config #tile.config<block = [64, 64], k = 32, stages = 4, warps = 8, copy = tma_im2col, mma = wgmma, swizzle = 128> { .. }
```
Every family of schedules (`transforms/linalg/families`) is asked for candidates; the cheapest is taken, `stepwell-opt --print-candidates` lists all. A
config that is there already is kept when it is legal by the rules of its family, and an error with the reason when it is not.

A fusion that no family takes whole is cut into several, one kernel each:
```mlir
%y = graph.fusion "f" (%a = %x : ..) -> (..) { %s = (a sum over columns of %a), %t = (a sum of %s) }
```
becomes
```mlir
%0 = graph.fusion "f" (%a = %x : ..) -> (..) config .. { (the sum over columns) }
%y = graph.fusion "f_1" (%s = %0 : ..) -> (..) config .. { (the sum of them) }
```
What no family takes even then gets `form = loops`, which takes everything; remarks say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import graph
from stepwell.dialects.tile import Config, ConfigAttr
from stepwell.dialects.tile.kernel_rules import target_name_of
from stepwell.passes import Meaning, PassFailure, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Kind, Remark
from stepwell.runtime.errors import UsageError
from stepwell.transforms.linalg._split import Part, parts_of, split
from stepwell.transforms.linalg._stages import stages_of
from stepwell.transforms.linalg.families.base import Setting, microseconds
from stepwell.transforms.linalg.families.rules import shapeless
from stepwell.transforms.linalg.families.table import LAST, Answer, answer, given_violations
from stepwell.transforms.symbols import new_symbol
from stepwell.types.targets import COMPILED

NAME = "linalg-choose-config"


@dataclass(frozen=True)
class ChooseConfigPass(StepwellPass):
    """Choose a `#tile.config` for each fusion by a cost model of the target. Options: `target` (sm_90a, x86-64-v4,
    x86-64-v3; default: what the module's `stepwell.target` and `stepwell.cpu` say), `tf32` (false: f32 products stay
    off the tensor cores). Remarks: passed with the config, what decided it, its estimate and among how many it was chosen; missed where the
    matrix instructions are refused or a fusion is cut, with the reason."""

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
        kept = {fusion: _kept(fusion, setting) for fusion in fusions if fusion.config is not None}
        asked = {fusion: answer(stages_of(fusion), setting) for fusion in fusions if fusion not in kept}
        parts = {fusion: parts_of(found, setting) for fusion, found in asked.items()}
        taken = {fusion.fusion_name.data for fusion in fusions}
        for fusion in fusions:
            if fusion in kept:
                self._tell(ctx, "passed", fusion, f"kept the given config: {kept[fusion]}")
            elif parts[fusion]:
                self._split(ctx, fusion, asked[fusion], parts[fusion], setting, taken)
            else:
                self._choose(ctx, fusion, asked[fusion], setting)

    def _choose(self, ctx: Context, fusion: graph.FusionOp, found: Answer, setting: Setting) -> None:
        for message in missed(found, setting):
            self._tell(ctx, "missed", fusion, message)
        self._tell(ctx, "passed", fusion, told(found))
        fusion.config = ConfigAttr(found.chosen.config)

    def _split(
        self,
        ctx: Context,
        fusion: graph.FusionOp,
        whole: Answer,
        parts: Sequence[Part],
        setting: Setting,
        taken: set[str],
    ) -> None:
        title, reasons = fusion.fusion_name.data, missed(whole, setting)
        names = [title, *(new_symbol(title, taken) for _ in parts[1:])]
        listed = ", ".join(f"{name} ({part.family})" for name, part in zip(names, parts, strict=True))
        self._tell(ctx, "missed", fusion, f"no kernel takes it whole: {'; '.join(reasons)}; it is cut into {listed}")
        for one in split(fusion, parts, names):
            self._choose(ctx, one, answer(stages_of(one), setting), setting)

    def _tell(self, ctx: Context, kind: Kind, fusion: graph.FusionOp, message: str) -> None:
        remarks_of(ctx).add(Remark(kind, NAME, names_of(fusion) or (fusion.fusion_name.data,), message))


def _kept(fusion: graph.FusionOp, setting: Setting) -> Config:
    """The config that the fusion has already; PassFailure with every reason when it is illegal."""
    if not isinstance(fusion.config, ConfigAttr):
        raise PassFailure(f"its config is {fusion.config}: a #tile.config is wanted", where=fusion.fusion_name.data)
    config = fusion.config.data
    if reasons := list(given_violations(stages_of(fusion), config, setting)):
        told = "; ".join(dict.fromkeys(reasons))
        raise PassFailure(
            f"its config is illegal on {setting.processor}: {told}",
            where=" + ".join(names_of(fusion)) or fusion.fusion_name.data,
        )
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
