"""What the simulator reports: one exception class per kind of mistake that hardware would answer with wrong numbers, a trap or a hang."""

from __future__ import annotations

from stepwell.runtime.errors import StepwellError


class Fault(StepwellError):
    """A kernel does what hardware does not define. `where` names kernel, block, role, op and source location."""

    kind = "fault"

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{place}{self.kind}: {self.message}{advice}"


class RaceFault(Fault):
    """Two accesses to the same bytes, one of them a write, that nothing orders (read before full, overwrite before empty)."""

    kind = "race"


class MissingFenceFault(Fault):
    """The async proxy (TMA, wgmma) reads generic stores, or uses a barrier, without the fence that makes them visible to it."""

    kind = "missing fence"


class BarrierBytesFault(Fault):
    """The bytes that a barrier expects are not the bytes that are copied on it."""

    kind = "barrier byte mismatch"


class BarrierFault(Fault):
    """A barrier is used before it exists, or with more arrivals than its count, or by a part of a warp."""

    kind = "barrier misuse"


class OutOfBoundsFault(Fault):
    """An address outside its buffer, its tensor or shared memory."""

    kind = "out of bounds"


class UninitialisedFault(Fault):
    """A read of memory that nobody wrote."""

    kind = "uninitialised read"


class MisalignedFault(Fault):
    """An address, pitch or extent that the instruction does not accept."""

    kind = "misaligned"


class DeadlockFault(Fault):
    """Every role waits, and no copy is in flight that could wake one."""

    kind = "deadlock"


class UnfinishedFault(Fault):
    """A block exits with copies or products in flight, or with a barrier half way."""

    kind = "exit in flight"


class PredecessorFault(Fault):
    """A buffer that an earlier launch writes is touched before `wait_predecessor`."""

    kind = "touched before predecessor wait"


class WriteTwiceFault(Fault):
    """An output element is written more than once, or never."""

    kind = "output written not exactly once"


class DivergenceFault(Fault):
    """An instruction that whole warps or warpgroups must execute together is executed by a part of them, or a value that must be uniform is not."""

    kind = "divergence"


class DescriptorFault(Fault):
    """A wgmma descriptor or tensor map whose bits say something that hardware refuses or that contradicts its use."""

    kind = "descriptor"
