"""The simulator of the kernel level: it executes the very warp and hopper ops whose translation is in the plan, on NumPy, and reports what hardware would not.

`simulate_kernel` runs chosen blocks of one kernel, `simulate_program` a whole `plan.program`, `judge` damages a kernel and says what was noticed. Checked: races
(vector clocks per warp, wgmma group and TMA destination; shadow memory per 16 bytes), reads before full, overwrites before empty, missing fences, barrier
counts and bytes, swizzles and descriptors, alignment, bounds, uninitialised reads, predecessor waits, outputs written exactly once, divergence, deadlocks,
and exits with work in flight. Not modelled: register limits, races between lanes of one warp, lanes of one warpgroup that wait for one another, clusters.
"""

from stepwell.dialects.hopper.simulator.faults import (
    BarrierBytesFault,
    BarrierFault,
    DeadlockFault,
    DescriptorFault,
    DivergenceFault,
    Fault,
    MisalignedFault,
    MissingFenceFault,
    OutOfBoundsFault,
    PredecessorFault,
    RaceFault,
    UnfinishedFault,
    UninitialisedFault,
    WriteTwiceFault,
)
from stepwell.dialects.hopper.simulator.launch import Report, check_complete, choose_blocks, simulate_kernel
from stepwell.dialects.hopper.simulator.memory import GlobalBuffer, GlobalMemory
from stepwell.dialects.hopper.simulator.mutations import MUTATIONS, Mutant, Mutation, judge, judge_launch, mutants
from stepwell.dialects.hopper.simulator.program import ProgramReport, simulate_program
from stepwell.dialects.hopper.simulator.tma import Im2col, TensorMap

__all__ = [
    "MUTATIONS", "BarrierBytesFault", "BarrierFault", "DeadlockFault", "DescriptorFault", "DivergenceFault", "Fault", "GlobalBuffer",
    "GlobalMemory", "Im2col", "MisalignedFault", "MissingFenceFault", "Mutant", "Mutation", "OutOfBoundsFault", "PredecessorFault",
    "ProgramReport", "RaceFault", "Report", "TensorMap", "UnfinishedFault", "UninitialisedFault", "WriteTwiceFault", "check_complete",
    "choose_blocks", "judge", "judge_launch", "mutants", "simulate_kernel", "simulate_program",
]  # fmt: skip
