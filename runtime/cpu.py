"""The CPU backend: maps the object, lays out records and pointer tables, keeps parked native threads, one ctypes call
per run.

The object exports (made by `stepwell.codegen.cpu_runtime`):
    stepwell_kernels                                      table of `void (ptr slots, i64 first_tile, i64 last_tile)`
    stepwell_run(ctx, records, n, threads, barrier)       one run; the caller is thread 0
    stepwell_worker(ctx, records, n, tid, threads, barrier)   the life of thread tid: parked between runs
    stepwell_stop(ctx)                                    lets the workers return
A record is four i64: kernel number, address of the argument slots (one i64 each), tiles, 0.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stepwell.runtime.arguments import (
    aligned,
    check_array,
    check_inputs,
    describe,
    fill_rows,
    find_binding,
    launch_name,
    named_inputs,
    table_addresses,
)  # fmt: skip
from stepwell.runtime.elf import Image
from stepwell.runtime.errors import PlanError, UsageError
from stepwell.runtime.plan_file import Section
from stepwell.runtime.program import Argument, Place, Program, dtype_of
from stepwell.runtime.program_reader import read_program

LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
LEVEL_FLAGS = {
    "x86-64-v2": frozenset({"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    "x86-64-v3": frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    "x86-64-v4": frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}
"""What each level adds, in the words of /proc/cpuinfo (System V ABI, AMD64 supplement, table 3.1)."""
CONTEXT_BYTES, BARRIER_BYTES = 128, 192
_P, _I = ctypes.c_void_p, ctypes.c_int64


def host_flags(cpuinfo: str = "/proc/cpuinfo") -> frozenset[str]:
    """The features of this machine's processors; empty where the system does not tell (not Linux on x86-64)."""
    try:
        text = Path(cpuinfo).read_text(errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def host_level(flags: frozenset[str] | None = None) -> str:
    """The highest level that this machine has, or "" when it has none."""
    present, best = host_flags() if flags is None else flags, ""
    for level in LEVELS:
        if not LEVEL_FLAGS[level] <= present:
            break
        best = level
    return best


def check_host(level: str, flags: frozenset[str] | None = None) -> None:
    """PlanError when this machine lacks what code for `level` needs."""
    if level not in LEVELS:
        raise PlanError(f'the code is for "{level}", which this runtime does not know', hint="upgrade stepwell")
    present = host_flags() if flags is None else flags
    needed = set().union(*(LEVEL_FLAGS[name] for name in LEVELS[: LEVELS.index(level) + 1]))
    missing = sorted(needed - present)
    if missing:
        hint = f"compile for this machine (its level is {host_level(present) or 'below x86-64-v2'})"
        raise PlanError(f"the code needs {level}; this machine lacks {', '.join(missing)}", hint=hint)


class CpuModule:
    """A loaded CPU section: code and constants, shared by all contexts."""

    def __init__(self, section: Section) -> None:
        self.program: Program = read_program(section.program, f"{section.name}/program.json")
        check_host(self.program.level)
        if "o" not in section.code:
            raise PlanError(f"section {section.name} holds no object code", hint="compile the plan again")
        self.image = Image(bytes(section.code["o"]), f"{section.name}/code.o")
        self.constants = np.frombuffer(section.constants, np.uint8)
        if self.constants.nbytes < self.program.constants:
            raise PlanError(
                f"section {section.name} holds {self.constants.nbytes} bytes of constants, fewer than it needs"
            )
        if self.constants.nbytes == 0 or self.constants.ctypes.data % 64:
            held = aligned(self.constants.nbytes)
            held[:] = self.constants
            self.constants = held
        if self.image.extent("stepwell_kernels") < 8 * len(self.program.kernels):
            raise PlanError(
                f"the object has fewer than {len(self.program.kernels)} kernels", where=f"{section.name}/code.o"
            )
        for index, name in enumerate(self.program.kernels):
            self._check_kernel(name, index)

    def _check_kernel(self, name: str, index: int) -> None:
        """Where the object names its kernels, its table agrees with the program's list."""
        entry = ctypes.c_int64.from_address(self.image.address("stepwell_kernels") + 8 * index).value
        if name in self.image and entry != self.image.address(name):
            raise PlanError(f"the table of kernels does not hold @{name} at {index}", where="code.o")

    @property
    def device(self) -> str:
        """What it runs on."""
        return f"cpu ({self.program.level})"

    def create_context(self, threads: int | None = None) -> CpuContext:
        """Take all memory of one execution and start its threads."""
        count = len(os.sched_getaffinity(0)) if threads is None else threads
        if not 1 <= count <= 1024:
            raise UsageError(f"threads is {count}: give 1 to 1024")
        return CpuContext(self, count)

    def close(self) -> None:
        """Nothing to give back before the last context is gone."""


class _Pool:
    """Parked native threads that walk one table of records."""

    def __init__(self, image: Image, records: np.ndarray, threads: int) -> None:
        self.context, self.barrier = aligned(CONTEXT_BYTES), aligned(BARRIER_BYTES)
        self.records, self.threads = records, threads
        run_type, stop_type = ctypes.CFUNCTYPE(None, _P, _P, _I, _I, _P), ctypes.CFUNCTYPE(None, _P)
        self._run = run_type(image.address("stepwell_run"))
        common = (self.context.ctypes.data, records.ctypes.data, len(records))
        self._arguments = (*common, threads, self.barrier.ctypes.data)
        worker = ctypes.CFUNCTYPE(None, _P, _P, _I, _I, _I, _P)(image.address("stepwell_worker"))
        keep = (image, records, self.context, self.barrier)
        workers = [
            threading.Thread(
                target=_live, args=(worker, (*common, tid, threads, self.barrier.ctypes.data), keep), daemon=True
            )
            for tid in range(1, threads)
        ]
        for thread in workers:
            thread.start()
        stop = stop_type(image.address("stepwell_stop"))
        self.close = weakref.finalize(self, _end, stop, self.context, workers, image)

    def run(self) -> None:
        """One walk over the records by all threads."""
        self._run(*self._arguments)


def _live(worker: Any, arguments: tuple[int, ...], keep: tuple[object, ...]) -> None:
    """A worker thread; `keep` holds the memory that it touches."""
    worker(*arguments)


def _end(stop: Any, context: np.ndarray, workers: list[threading.Thread], image: Image) -> None:
    """Stop and join the workers of a pool, before its memory goes."""
    stop(context.ctypes.data)
    for thread in workers:
        thread.join()


class CpuContext:
    """One execution at a time: an arena, binding buffers, records, tables and threads. Everything is allocated here."""

    def __init__(self, module: CpuModule, threads: int) -> None:
        self.module, self.program, self.threads = module, module.program, threads
        self._lock = threading.Lock()
        self._arena = aligned(self.program.arena)
        self._own = [aligned(binding.bytes).view(dtype_of(binding.dtype)) for binding in self.program.bindings]
        self._own = [array.reshape(b.shape) for array, b in zip(self._own, self.program.bindings)]
        self._bound: dict[int, np.ndarray] = {}
        rows, self._fill_offsets = fill_rows(self.program)
        self._fill = aligned(len(rows))
        self._fill[:] = np.frombuffer(rows, np.uint8)
        count = sum(len(launch.arguments) for launch in self.program.launches)
        self._slots = np.zeros(max(1, count), np.int64)
        self._records = np.zeros((len(self.program.launches), 4), np.int64)
        self._tables: list[np.ndarray] = []
        self._write_records()
        self._pool = _Pool(module.image, self._records, threads) if self.program.launches else None
        self._profile_pool: _Pool | None = None
        self._closed = False

    def _buffer(self, index: int) -> np.ndarray:
        return self._bound.get(index, self._own[index])

    def _address(self, place: Place) -> int:
        if place.space == "binding":
            return self._buffer(place.binding).ctypes.data + place.offset
        base = self._arena if place.space == "arena" else self.module.constants
        return base.ctypes.data + place.offset

    def _write_records(self) -> None:
        """Fill the tables, slots and records for the current binding addresses, in place: the workers hold their
        addresses."""
        self._tables = [
            table_addresses(table, self._address, self._fill.ctypes.data + self._fill_offsets[index])
            for index, table in enumerate(self.program.tables)
        ]
        at = 0
        for number, launch in enumerate(self.program.launches):
            self._records[number] = (launch.kernel, self._slots.ctypes.data + 8 * at, launch.tiles, 0)
            for argument in launch.arguments:
                self._slots[at] = self._slot(argument)
                at += 1

    def _slot(self, argument: Argument) -> int:
        if argument.place is not None:
            return self._address(argument.place)
        if argument.kind == "table":
            return int(self._tables[argument.index].ctypes.data)
        if argument.kind == "tensor_map":
            raise PlanError("a CPU section passes a tensor map", where="program.json")
        if argument.kind == "f32":
            return int.from_bytes(struct.pack("<f", argument.value), "little")
        if argument.kind == "f64":
            return int.from_bytes(struct.pack("<d", argument.value), "little", signed=True)
        return int(argument.value)

    def bind(self, name: str, array: np.ndarray) -> None:
        """Use the caller's memory for a binding from the next run on: no copy. It must stay alive; outputs must be
        writable."""
        index = find_binding(self.program, name)
        binding = self.program.bindings[index]
        checked = check_array(binding, array)
        if not checked.flags.c_contiguous or not (binding.is_input or checked.flags.writeable):
            raise UsageError(
                f"{describe(binding)} is bound to memory that is not contiguous or not writable", where=name
            )
        with self._one_at_a_time():
            self._bound[index] = checked
            self._write_records()

    def run(self, inputs: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Copy inputs in, execute, copy outputs out. Bound bindings are not copied: outputs are the bound arrays."""
        with self._one_at_a_time():
            arrays = check_inputs(self.program, named_inputs(inputs), set(self._bound))
            for index, array in arrays.items():
                self._buffer(index)[...] = array
            self._execute()
            return {
                binding.name: self._bound[index] if index in self._bound else self._own[index].copy()
                for index, binding in enumerate(self.program.bindings)
                if not binding.is_input
            }

    def enqueue(self, stream: int = 0) -> None:
        """Execute on what is bound. The CPU has no streams: it is done when this returns."""
        with self._one_at_a_time():
            check_inputs(self.program, {}, set(self._bound))
            self._execute()

    def _execute(self) -> None:
        if self._pool is not None:
            self._pool.run()
        for copy in self.program.copies:
            ctypes.memmove(self._address(copy.target), self._address(copy.source), copy.bytes)

    def measure(self, repeat: int = 20) -> list[float]:
        """Seconds of single executions on what the bindings hold, copies of inputs and outputs not counted."""
        with self._one_at_a_time():
            return [self._timed() for _ in range(repeat)]

    def _timed(self) -> float:
        begin = time.perf_counter()
        self._execute()
        return time.perf_counter() - begin

    def profile(self, repeat: int = 10) -> list[tuple[str, float]]:
        """(name, median seconds) of each launch, run alone by all threads on what the bindings hold now."""
        with self._one_at_a_time():
            slot = np.zeros((1, 4), np.int64) if self._profile_pool is None else self._profile_pool.records
            if self._profile_pool is None:
                self._profile_pool = _Pool(self.module.image, slot, self.threads)
            times = np.zeros((repeat, len(self._records)))
            for turn in range(repeat):
                for number, record in enumerate(self._records):
                    slot[0] = record
                    begin = time.perf_counter()
                    self._profile_pool.run()
                    times[turn, number] = time.perf_counter() - begin
            return [(launch_name(self.program, n), float(np.median(times[:, n]))) for n in range(len(self._records))]

    def _one_at_a_time(self) -> _Turn:
        return _Turn(self)

    def close(self) -> None:
        """Stop the threads. The context cannot be used afterwards."""
        with self._one_at_a_time():
            self._closed = True
            for pool in (self._pool, self._profile_pool):
                if pool is not None:
                    pool.close()


class _Turn:
    """The lock of a context: a second thread is refused, not queued."""

    def __init__(self, context: CpuContext) -> None:
        self.context = context

    def __enter__(self) -> None:
        if not self.context._lock.acquire(blocking=False):
            raise UsageError("this context is running in another thread", hint="create one context per thread")
        if self.context._closed:
            self.context._lock.release()
            raise UsageError("this context is closed")

    def __exit__(self, *error: object) -> None:
        self.context._lock.release()
