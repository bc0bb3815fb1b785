"""The native part of the CPU runtime, as LLVM text that is compiled into every CPU object: a run, its workers, their turns.

Exported:  `i32 stepwell_run(ptr ctx, i64 state, i64 first, i64 last, ptr in, i64 nin, ptr out, i64 nout)`
               one run of the records [first, last); the caller works too. `in` and `out` are rows of three i64, target, source, bytes:
               copied before and after it. `state` is the number of what was installed last.
           `i32 stepwell_install(ptr ctx, i64 state, ptr copies, i64 n)`  change what the records point at, between two runs
           `i32 stepwell_stop(ptr ctx)`  the end: every worker returns
           `ptr stepwell_worker(ptr ctx)`  the life of a worker: the start routine of a POSIX thread
           `stepwell_kernels`  table of pointers to the kernels, in the order of the module
Answers:   0 done, 1 another thread is inside, 2 stopped, 3 another state is installed.

A call takes `busy`, works and gives it back before it returns, so that nothing that interrupts the caller's language leaves a context taken.

record (32 bytes): i64 kernel number, i64 address of the kernel's slots, i64 end (tiles of this record and of all before it), i64 grain (as
many tiles as are worth taking at once). A kernel is `void (ptr slots, i64 first, i64 last)`.

ctx (`CONTEXT_BYTES` and 4 bytes for each worker, zeroed, 64-byte aligned; a group that different threads write has a line of its own):
      0  ptr records, i64 their number, i64 threads (the caller counted), ptr masks, i64 bytes of a mask, i64 number of masks,
         i64 cycles that an idle worker spins                                                          set by the host, then constant
     64  i64 goal, i64 base, i32 (80) epoch, one more per run or stop: what the workers sleep on, i32 (84) stop
    128  i64 next      192  i64 done
    256  i32 busy, i64 (at 264) place: where the caller was and how many workers there were when they were last placed, i64 (272) state
    320  i32 parked workers
    384  i32 workers that have begun, i32 (388) workers that are known by their number; at 448 the numbers, i32 each

*Turns.* Tiles are numbered through all runs of a context and never twice: `next` is the first that nobody has taken, `done` counts those
that are finished, `goal` is the end of this run; tile t is t - base of the record table. Whoever is there takes a piece of the record that
`next` is in, once all tiles before that record are done: a thread that comes late or never delays nobody, and no barrier counts threads.
A piece is a share of what is left of the record (1 / (2 threads)), at least its grain. Inside a run a thread that has to wait spins, and after
`PATIENCE` pauses gives its core to whoever else wants it, but never sleeps.

*Places.* The row of `masks` for the caller's core says where workers may be: never on the core that the caller is on. They are moved by
the caller when it finds itself on another core than at the last run (or more workers have come).

*Between runs* a worker spins as long as its last wait was short, and sleeps by a futex (futex(2)) after that.

A worker asks the scheduler for short time slices: woken beside a thread of another program that computes, it comes first and gives back soon.
It also asks for a priority five steps of nice(2) above its caller's, which a process without that right does not get: beside a thread that
spins without end (another library's idle worker, say) equal shares would leave it every second scheduler tick, and its caller waits that long
for the piece that it holds.

System calls are x86-64 Linux's, by inline assembly. The floating-point state of a run is always the same (MXCSR: round to nearest, denormals
flushed because they cost 80 times the speed, no exception raised), whatever the caller's is; the caller's is back when a call returns.
Signals are blocked in the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from stepwell.codegen._cpu_runtime_calls import CALLS
from stepwell.codegen._cpu_runtime_text import TEXT

CONTEXT_BYTES = 448
RECORD_WORDS = 4
EXPORTS = ("stepwell_run", "stepwell_install", "stepwell_stop", "stepwell_worker", "stepwell_kernels")

_NUMBERS = MappingProxyType(
    {
        "SYS_FUTEX": 202,  # system call numbers, x86-64 Linux
        "SYS_SIGPROCMASK": 14,
        "SYS_YIELD": 24,
        "SYS_GETTID": 186,
        "SYS_SETAFFINITY": 203,
        "SYS_GETCPU": 309,
        "SYS_SETATTR": 314,
        "SYS_GETATTR": 315,
        "SYS_GETPRIORITY": 140,
        "SYS_SETPRIORITY": 141,
        "PRIORITY": 5,  # steps of nice(2): three times the weight in the scheduler
        "SLICE_NS": 100_000,  # the shortest that sched_setattr(2) takes; without effect before Linux 6.12
        "WAIT": 128,  # FUTEX_WAIT | FUTEX_PRIVATE_FLAG
        "WAKE": 129,  # FUTEX_WAKE | FUTEX_PRIVATE_FLAG
        "EVERYONE": 0x7FFFFFFF,
        "PATIENCE": 2000,  # pauses, about 100 us
        "SHORT_SPIN": 4000,  # cycles, when the last wait was long
        "FLOAT_STATE": 0x9FC0,  # MXCSR: all exceptions masked, flush to zero, denormals are zero (Intel SDM volume 1, 10.2.3)
    }
)


def runtime_text(kernels: Sequence[str]) -> str:
    """The runtime and the table of the kernels, which must be defined in the same module."""
    text = TEXT + CALLS
    for name, number in _NUMBERS.items():
        text = text.replace(name, str(number))
    entries = ", ".join(f"ptr @{name}" for name in kernels)
    value = f"[{entries}]" if kernels else "zeroinitializer"
    return f"\n@stepwell_kernels = dso_local constant [{len(kernels)} x ptr] {value}, align 8\n{text}"
