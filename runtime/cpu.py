"""The CPU backend: maps the object, lays out records and pointer tables, and makes each run one call into native code."""

from __future__ import annotations

import ctypes
import itertools
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
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
from stepwell.runtime.cpu_cores import default_threads
from stepwell.runtime.cpu_host import check_host
from stepwell.runtime.cpu_pool import Copies, Pool
from stepwell.runtime.elf import Image
from stepwell.runtime.errors import PlanError, UsageError
from stepwell.runtime.plan_file import Section
from stepwell.runtime.program import Argument, Launch, Place, Program, dtype_of
from stepwell.runtime.program_reader import read_program


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
        """Take all memory of one execution and start its threads: one for each physical core unless `threads` is given."""
        count = default_threads() if threads is None else threads
        if not 1 <= count <= 1024:
            raise UsageError(f"threads is {count}: give 1 to 1024")
        return CpuContext(self, count)

    def close(self) -> None:
        """Nothing to give back before the last context is gone."""


@dataclass(frozen=True)
class _Bound:
    """Which memory of the caller's stands for which bindings, and what is copied after each run. `number` tells it from all others of the
    context: it is what the native side has installed, or not yet."""

    number: int
    arrays: dict[int, np.ndarray]
    copies: Copies


class CpuContext:
    """One execution at a time: an arena, binding buffers, records, tables and threads. Everything is allocated here."""

    def __init__(self, module: CpuModule, threads: int) -> None:
        self.module, self.program = module, module.program
        self._arena = aligned(self.program.arena)
        self._own = [aligned(b.bytes).view(dtype_of(b.dtype)).reshape(b.shape) for b in self.program.bindings]
        self._own_at = [_address(array) for array in self._own]
        rows, self._fill_offsets = fill_rows(self.program)
        self._fill = aligned(len(rows))
        self._fill[:] = np.frombuffer(rows, np.uint8)
        self._numbers = itertools.count(1)
        self._bound = self._bind({})
        self._slots, self._tables = self._arguments(self._bound)
        self._records = self._make_records()
        self._wanted = min(threads, max(map(_pieces, self.program.launches), default=1))
        self._pools = {os.getpid(): Pool(module.image, self._records, self._wanted)}

    @property
    def threads(self) -> int:
        """How many threads take part in a run: no more than the largest launch has pieces, nor than could be started."""
        return self._pool().threads

    def _bind(self, arrays: dict[int, np.ndarray]) -> _Bound:
        copies = tuple(
            word
            for copy in self.program.copies
            for word in (self._address(copy.target, arrays), self._address(copy.source, arrays), copy.bytes)
        )
        return _Bound(next(self._numbers), arrays, copies)

    def _address(self, place: Place, arrays: Mapping[int, np.ndarray]) -> int:
        if place.space == "binding":
            array = arrays.get(place.binding)
            return (self._own_at[place.binding] if array is None else _address(array)) + place.offset
        base = self._arena if place.space == "arena" else self.module.constants
        return _address(base) + place.offset

    def _arguments(self, bound: _Bound) -> tuple[np.ndarray, list[np.ndarray]]:
        """The slots of all launches and the pointer tables, for these bindings. The slots name the tables of this context: the first ones
        that were made."""
        fill = _address(self._fill)
        tables = [
            table_addresses(table, lambda place: self._address(place, bound.arrays), fill + self._fill_offsets[index])
            for index, table in enumerate(self.program.tables)
        ]
        table_at = [_address(table) for table in getattr(self, "_tables", tables)]
        arguments = [argument for launch in self.program.launches for argument in launch.arguments]
        slots = [self._slot(argument, bound, table_at) for argument in arguments]
        return np.array([*slots, 0], np.int64), tables

    def _slot(self, argument: Argument, bound: _Bound, table_at: list[int]) -> int:
        if argument.place is not None:
            return self._address(argument.place, bound.arrays)
        if argument.kind == "table":
            return table_at[argument.index]
        if argument.kind == "tensor_map":
            raise PlanError("a CPU section passes a tensor map", where="program.json")
        if argument.kind == "f32":
            return int.from_bytes(struct.pack("<f", argument.value), "little")
        if argument.kind == "f64":
            return int.from_bytes(struct.pack("<d", argument.value), "little", signed=True)
        return int.from_bytes((int(argument.value) % 2**64).to_bytes(8, "little"), "little", signed=True)

    def _make_records(self) -> np.ndarray:
        """One row for each launch: kernel, address of its slots, tiles up to its end, grain."""
        ends = itertools.accumulate(launch.tiles for launch in self.program.launches)
        slots = itertools.accumulate((len(launch.arguments) for launch in self.program.launches), initial=0)
        base = _address(self._slots)
        rows = [
            (launch.kernel, base + 8 * slot, end, launch.grain)
            for launch, slot, end in zip(self.program.launches, slots, ends)
        ]
        return np.array(rows, np.int64).reshape(-1, 4)

    def bind(self, name: str, array: np.ndarray) -> None:
        """Use the caller's memory for a binding from the next run on: no copy. It must stay alive; outputs must be
        writable."""
        index = find_binding(self.program, name)
        binding = self.program.bindings[index]
        checked = check_array(binding, array)
        if (
            not checked.flags.c_contiguous
            or not checked.flags.aligned
            or not (binding.is_input or checked.flags.writeable)
        ):
            raise UsageError(
                f"{describe(binding)} is bound to memory that is not contiguous, not aligned or not writable",
                where=name,
            )
        self._bound = self._bind({**self._open().arrays, index: checked})

    def run(self, inputs: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Copy inputs in, execute, copy outputs out. Bound bindings are not copied: outputs are the bound arrays."""
        bound = self._open()
        arrays = check_inputs(self.program, named_inputs(inputs), bound.arrays)
        before, after = list[int](), list(bound.copies)
        held = [np.ascontiguousarray(array) for array in arrays.values()]
        for index, array in zip(arrays, held):
            before += (self._own_at[index], _address(array), array.nbytes)
        outputs: dict[str, np.ndarray] = {}
        for index, binding in enumerate(self.program.bindings):
            if binding.is_input:
                continue
            if index in bound.arrays:
                outputs[binding.name] = bound.arrays[index]
                continue
            made = outputs[binding.name] = np.empty(binding.shape, dtype_of(binding.dtype))
            after += (_address(made), self._own_at[index], made.nbytes)
        self._execute(bound, before, after)
        return outputs

    def enqueue(self, stream: int = 0) -> None:
        """Execute on what is bound. The CPU has no streams: it is done when this returns."""
        bound = self._open()
        check_inputs(self.program, {}, bound.arrays)
        self._execute(bound, (), bound.copies)

    def _open(self) -> _Bound:
        """What the next run uses; UsageError after `close`."""
        self._pool().check_open()
        return self._bound

    def _pool(self) -> Pool:
        """The threads of this process; a child process that inherited the context starts its own."""
        process = os.getpid()
        pool = self._pools.get(process)
        if pool is not None:
            return pool
        return self._pools.setdefault(process, Pool(self.module.image, self._records, self._wanted))

    def _execute(self, bound: _Bound, before: Copies, after: Copies, launches: range | None = None) -> None:
        """Run all launches, or these, in one native call; install the bindings first where another state is installed."""
        pool = self._pool()
        first, last = (0, len(self._records)) if launches is None else (launches.start, launches.stop)
        while not pool.run(bound.number, first, last, before, after):
            slots, tables = self._arguments(bound)
            parts = zip((self._slots, *self._tables), (slots, *tables))
            pool.install(bound.number, [word for to, of in parts for word in (_address(to), _address(of), of.nbytes)])

    def measure(self, repeat: int = 20) -> list[float]:
        """Seconds of single executions on what the bindings hold, copies of inputs and outputs not counted."""
        return [self._timed() for _ in range(repeat)]

    def _timed(self, launches: range | None = None) -> float:
        bound = self._bound
        begin = time.perf_counter()
        self._execute(bound, (), () if launches else bound.copies, launches)
        return time.perf_counter() - begin

    def profile(self, repeat: int = 10) -> list[tuple[str, float]]:
        """(name, median seconds) of each launch, run alone by all threads on what the bindings hold now."""
        numbers = range(len(self._records))
        times = np.array([[self._timed(range(n, n + 1)) for n in numbers] for _ in range(repeat)])
        return [(launch_name(self.program, n), float(np.median(times[:, n]))) for n in numbers]

    def close(self) -> None:
        """Stop the threads. The context cannot be used afterwards."""
        self._pool().close()


def _address(array: np.ndarray) -> int:
    """Where the elements lie: `array.ctypes.data`, four times as fast."""
    return int(array.__array_interface__["data"][0])


def _pieces(launch: Launch) -> int:
    """Into how many pieces that are worth their while a launch can be cut."""
    return max(1, launch.tiles // launch.grain)
