"""What a plan.program takes in memory, as numbers and as text: known before anything is allocated."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from stepwell.dialects import plan
from stepwell.transforms.plan._offsets import lower_bound


@dataclass(frozen=True)
class MemoryReport:
    """Bytes. `arena` is what a context allocates for values between kernels, `slices` what they would take without
    sharing, `needed` the most that is alive in one step (no arena is smaller), `constants` the weights as stored."""

    arena: int
    slices: int
    needed: int
    constants: int
    constants_without_sharing: int
    inputs: int
    outputs: int

    def as_dict(self) -> dict[str, int]:
        """The numbers by name, as the plan file stores them."""
        return asdict(self)

    def __str__(self) -> str:
        saved = 1 - self.arena / self.slices if self.slices else 0.0
        over = self.arena / self.needed - 1 if self.needed else 0.0
        return (
            f"arena {self.arena} bytes ({saved:.0%} less than {self.slices} without sharing, {over:.1%} above the"
            f" lower bound {self.needed}); constants {self.constants} bytes ({self.constants_without_sharing} without"
            f" sharing); inputs {self.inputs}, outputs {self.outputs} bytes"
        )


def memory_report(program: plan.ProgramOp) -> MemoryReport:
    """Measure a program whose offsets are assigned."""
    slices = [op for op in program.block.ops if isinstance(op, plan.SliceOp)]
    constants = [op for op in program.block.ops if isinstance(op, plan.ConstantOp)]
    bindings = [op for op in program.block.ops if isinstance(op, plan.BindingOp)]
    sizes = [op.type.size_in_bytes() for op in slices]
    return MemoryReport(
        arena=0 if program.arena is None else program.arena.value.data,
        slices=sum(sizes),
        needed=lower_bound([op.lifetime for op in slices], sizes, plan.ALIGNMENT),
        constants=0 if program.constants is None else program.constants.value.data,
        constants_without_sharing=sum(op.type.size_in_bytes() for op in constants),
        inputs=sum(op.type.size_in_bytes() for op in bindings if op.is_input),
        outputs=sum(op.type.size_in_bytes() for op in bindings if not op.is_input),
    )
