"""The threads of one context: native workers (POSIX threads that never enter Python), parked between runs, and the calls into the object's
runtime (`stepwell.codegen.cpu_runtime` says what each does). Every call is one piece of native code: it takes the context, works and gives it
back, so an exception of a signal handler comes before or after it, never inside.
"""

from __future__ import annotations

import ctypes
import os
import struct
import warnings
import weakref
from collections.abc import Callable, Sequence

import numpy as np

from stepwell.runtime.arguments import aligned
from stepwell.runtime.cpu_cores import cores_of, placement
from stepwell.runtime.elf import Image
from stepwell.runtime.errors import InternalError, UsageError

CONTEXT_BYTES = 448
STACK_BYTES = 1 << 20
SPIN_CYCLES = 100_000
"""Of the time stamp counter (some 2 to 4 a nanosecond): how long a worker waits for the next run before it sleeps."""
DONE, BUSY, STOPPED, OUTDATED = 0, 1, 2, 3
Copies = Sequence[int]
"""Target, source, bytes; target, source, bytes; ..."""
_P, _I = ctypes.c_void_p, ctypes.c_int64


class Pool:
    """A table of records, the context that is made around it, and its workers. `threads` counts the caller."""

    def __init__(self, image: Image, records: np.ndarray, threads: int) -> None:
        self._run = ctypes.CFUNCTYPE(ctypes.c_int32, _P, _I, _I, _I, _P, _I, _P, _I)(image.address("stepwell_run"))
        self._install = ctypes.CFUNCTYPE(ctypes.c_int32, _P, _I, _P, _I)(image.address("stepwell_install"))
        self._stop = ctypes.CFUNCTYPE(ctypes.c_int32, _P)(image.address("stepwell_stop"))
        masks = placement(threads, cores_of(os.sched_getaffinity(0)))
        context = aligned(CONTEXT_BYTES + 4 * threads)
        self._context = context.ctypes.data
        self._keep = (image, records, masks, context)
        table = (records.ctypes.data, len(records), threads, masks.ctypes.data, masks.shape[1], len(masks), SPIN_CYCLES)
        words = context[:64].view(np.int64)
        words[: len(table)] = table
        workers = (ctypes.c_ulong * (threads - 1))()
        self._end = weakref.finalize(self, _end, self._stop, self._context, workers, os.getpid(), self._keep)
        self.threads = words[2] = 1 + _start(image.address("stepwell_worker"), self._context, workers)

    def run(self, state: int, first: int, last: int, before: Copies = (), after: Copies = ()) -> bool:
        """Execute the records [first, last) between two lists of copies; False where `state` is not what is installed."""
        rows = _packed(before), len(before) // 3, _packed(after), len(after) // 3
        return _accepted(self._run(self._context, state, first, last, *rows))

    def install(self, state: int, copies: Copies) -> None:
        """Make the copies between two runs and call the result `state`."""
        _accepted(self._install(self._context, state, _packed(copies), len(copies) // 3))

    def check_open(self) -> None:
        """UsageError after `close`."""
        _accepted(DONE if self._end.alive else STOPPED)

    def close(self) -> None:
        """Stop and join the workers; UsageError while a run is going on in another thread."""
        _accepted(self._stop(self._context))
        self._end()


def _packed(copies: Copies) -> bytes:
    return struct.pack(f"{len(copies)}q", *copies)


def _accepted(answer: int) -> bool:
    if answer == BUSY:
        raise UsageError("this context is running in another thread", hint="create one context per thread")
    if answer == STOPPED:
        raise UsageError("this context is closed")
    return answer == DONE


def _start(entry: int, context: int, workers: ctypes.Array[ctypes.c_ulong]) -> int:
    """Start threads and write their handles; where the system gives fewer, say so and go on with those. Returns how many run."""
    library = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(64)  # pthread_attr_t has 56 bytes on x86-64
    if library.pthread_attr_init(attributes) or library.pthread_attr_setstacksize(
        attributes, ctypes.c_size_t(STACK_BYTES)
    ):
        raise InternalError("the system refuses the attributes of a thread")
    for index in range(len(workers)):
        handle = ctypes.byref(workers, index * ctypes.sizeof(ctypes.c_ulong))
        error = library.pthread_create(handle, attributes, _P(entry), _P(context))
        if error:
            workers[index] = 0
            message = f"only {index + 1} of {len(workers) + 1} threads could be started ({os.strerror(error)})"
            warnings.warn(f"{message}: runs use these", RuntimeWarning, stacklevel=2)
            return index
    return len(workers)


def _end(
    stop: Callable[[int], int], context: int, workers: ctypes.Array[ctypes.c_ulong], process: int, keep: object
) -> None:
    """Stop and join the workers of a pool; `keep` is the memory that they use until then. A child process has none of them: they stayed
    behind in the parent. When the process ends while another thread is inside a run, they end with the process."""
    if os.getpid() != process or stop(context) == BUSY:
        return
    library = ctypes.CDLL(None)
    for worker in filter(None, workers):
        library.pthread_join(ctypes.c_ulong(worker), None)
