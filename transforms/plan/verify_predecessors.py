"""plan-verify-predecessors: every CUDA kernel waits for the kernel before it, and touches only constants until then.

The IR is not changed. Refused:
    warp.kernel @k(%x: !warp.global<f32>) threads 128 shared 0 {
      %v = warp.fragment_load_row %x[%i] bounds [%n] .. // %x is a slice of the arena in some launch
      warp.wait_predecessor
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation

from stepwell.dialects import plan
from stepwell.passes import Meaning, PassFailure, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark

KERNELS = ("tile.kernel", "warp.kernel")


@dataclass(frozen=True)
class VerifyPredecessorsPass(StepwellPass):
    """Check that every kernel that a plan launches on a GPU waits for its predecessor before it touches what may
    change."""

    name = "plan-verify-predecessors"
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("kernel",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if op.attributes.get("stepwell.target") == StringAttr("cpu"):
            return
        launches = [launch for launch in op.walk() if isinstance(launch, plan.LaunchOp)]
        checked = 0
        for kernel in [kernel for kernel in op.ops if kernel.name in KERNELS]:
            name = _symbol(kernel)
            mine = [launch for launch in launches if launch.kernel_name == name]
            if not mine:
                continue
            for fault in plan.predecessor_faults(kernel, plan.constant_parameters(mine)):
                raise PassFailure(
                    f"@{name} {fault}",
                    where=" + ".join(names_of(kernel)) or self.name,
                    hint="put warp.wait_predecessor in front of it, in every role that reaches it",
                )
            checked += 1
        remarks_of(ctx).add(Remark("analysis", self.name, (), f"{checked} kernels wait for their predecessors"))


def _symbol(op: Operation) -> str:
    name = op.properties.get("sym_name")
    return name.data if isinstance(name, StringAttr) else ""


PASS = VerifyPredecessorsPass
