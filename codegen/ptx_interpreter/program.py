"""Run all launches of a plan's section on the interpreter: what the CUDA runtime allocates and passes, from the same `program.json`.

The program says where memory begins and not where it ends, so each launch comes with the extents of its arguments, which the module in the plan knows
(`stepwell.driver.run_ptx.launches_of`): every access of a launch must lie in one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter.launch import Argument, run_entry
from stepwell.codegen.ptx_interpreter.memory import INSTRUCTIONS
from stepwell.codegen.ptx_interpreter.parser import parse
from stepwell.codegen.ptx_interpreter.syntax import Entry, Module, Special
from stepwell.dialects.hopper.simulator.faults import Fault
from stepwell.dialects.hopper.simulator.launch import Blocks, Report, check_complete
from stepwell.dialects.hopper.simulator.memory import POISON, GlobalBuffer, GlobalMemory
from stepwell.dialects.hopper.simulator.tma import Im2col, TensorMap
from stepwell.runtime import program as host
from stepwell.runtime.arguments import check_inputs
from stepwell.runtime.errors import PlanError
from stepwell.runtime.plan_file import Section
from stepwell.runtime.program_reader import read_program


@dataclass(frozen=True)
class Extent:
    """The memory behind one launch argument: a name for messages, bytes from its first to its last element, element type, and of a strided view the flags of
    the elements that it names."""

    name: str
    bytes: int
    dtype: np.dtype[Any]
    elements: np.ndarray | None = None


@dataclass(frozen=True)
class LaunchMemory:
    """What the arguments of a launch reach (None for numbers), the positions of those that it must write completely, and the parts of the arena (offset,
    bytes) whose life ends with it."""

    extents: tuple[Extent | None, ...]
    written: tuple[int, ...]
    released: tuple[tuple[int, int], ...]


@dataclass
class PtxReport:
    """The outputs by name, and a report per launch."""

    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    launches: list[Report] = field(default_factory=list)


def run_section(
    section: Section,
    inputs: Mapping[str, Any],
    launches: Sequence[LaunchMemory],
    *,
    ptx: str | None = None,
    blocks: Blocks = "all",
    seed: int = 0,
    limit: int = INSTRUCTIONS,
    persistent: int | None = None,
) -> PtxReport:
    """Execute `code.ptx` of a section (or the text `ptx` in its place) on `inputs` by name. With `blocks` other than `all` each launch runs only those, and
    what the others would have written is zeros: then only what the chosen blocks wrote, and their faults, mean something. `persistent`: entries that ask for the size of their grid, so that a block does
    many tiles, run with at most so many blocks. Raises a `Fault` that says where,
    PtxRefused, UsageErrors for inputs that do not fit."""
    if ptx is None and "ptx" not in section.code:
        raise PlanError(f"section {section.name} holds no PTX", hint="compile for sm_90a")
    program = read_program(section.program, f"{section.name}/program.json")
    if len(launches) != len(program.launches):
        raise PlanError(f"the program has {len(program.launches)} launches, its module {len(launches)}")
    run = _Run(program, section, check_inputs(program, inputs, set()), complete=blocks == "all")
    module = parse(text_of(section) if ptx is None else ptx)
    report = PtxReport()
    for number, (launch, known) in enumerate(zip(program.launches, launches, strict=True)):
        arguments, name = run.arguments(launch, known), program.kernels[launch.kernel]
        try:
            done = run_entry(
                module, name, arguments, _grid(module, name, launch, persistent), block=_three(launch.block), shared=launch.shared,
                blocks=blocks, seed=seed + number, source=" + ".join(launch.names), limit=limit,
            )  # fmt: skip
            if len(done.blocks) == done.grid:
                check_complete(done, [_buffer(arguments[position]) for position in known.written])
        except Fault as fault:
            fault.where = f"launch {number}, {fault.where}"
            raise
        run.release(known.released)
        report.launches.append(done)
    run.copy_outputs()
    report.outputs = run.outputs()
    return report


def text_of(section: Section) -> str:
    """The PTX of a section; a PlanError where it is no text."""
    try:
        return bytes(section.code["ptx"]).decode()
    except UnicodeDecodeError as error:
        raise PlanError(f"not PTX: byte {error.start} is not UTF-8", where=f"{section.name}/code.ptx") from None


def _grid(module: Module, name: str, launch: host.Launch, persistent: int | None) -> tuple[int, int, int]:
    grid = _three(launch.grid)
    if persistent is None or name not in module.entries or not _asks_for_grid(module.entries[name]):
        return grid
    return min(grid[0], persistent), grid[1], grid[2]


def _asks_for_grid(entry: Entry) -> bool:
    return any(Special("nctaid.x") in instruction.operands for instruction in entry.instructions)


def _three(extents: Sequence[int]) -> tuple[int, int, int]:
    x, y, z = (*extents, 1, 1)[:3]
    return x, y, z


def _buffer(argument: Argument) -> GlobalBuffer:
    held = argument.buffer if isinstance(argument, TensorMap) else argument
    if not isinstance(held, GlobalBuffer):
        raise PlanError("a launch writes an argument that is no buffer")
    return held


class _Run:
    """The memory of one execution."""

    def __init__(
        self, program: host.Program, section: Section, inputs: Mapping[int, np.ndarray], *, complete: bool
    ) -> None:
        self.program, self.complete = program, complete
        self.arena = self._empty(program.arena)
        self.constants = GlobalMemory(np.frombuffer(bytes(section.constants), np.uint8).copy())
        self.bindings = [
            GlobalMemory(np.frombuffer(np.ascontiguousarray(inputs[i]).tobytes(), np.uint8).copy())
            if binding.is_input
            else self._empty(binding.bytes)
            for i, binding in enumerate(program.bindings)
        ]

    def _empty(self, size: int) -> GlobalMemory:
        if not self.complete:
            return GlobalMemory(np.zeros(size, np.uint8))
        return GlobalMemory(np.full(size, POISON, np.uint8), np.zeros(size, bool))

    def _memory(self, place: host.Place) -> GlobalMemory:
        if place.space == "binding":
            return self.bindings[place.binding]
        return self.arena if place.space == "arena" else self.constants

    def arguments(self, launch: host.Launch, known: LaunchMemory) -> list[Argument]:
        """What the kernel gets, in order."""
        if len(known.extents) != len(launch.arguments):
            raise PlanError("a launch of the program has other arguments than that of its module")
        return [self._argument(a, extent) for a, extent in zip(launch.arguments, known.extents, strict=True)]

    def _argument(self, argument: host.Argument, extent: Extent | None) -> Argument:
        if argument.kind == "tensor_map" and extent is not None:
            spec = self.program.tensor_maps[argument.index]
            return tensor_map(spec, self._reach(spec.place, extent))
        if argument.kind == "pointer" and extent is not None and argument.place is not None:
            return self._reach(argument.place, extent)
        if argument.kind in host.VALUE_KINDS and extent is None:
            return argument.value
        raise PlanError(f"a launch argument of kind {argument.kind} is not what its module says")

    def _reach(self, place: host.Place, extent: Extent) -> GlobalBuffer:
        memory, constant = self._memory(place), place.space == "constants"
        if place.offset + extent.bytes > len(memory.bytes):
            raise PlanError(f"{extent.name} ends outside of its memory")
        count = extent.bytes // extent.dtype.itemsize
        return GlobalBuffer(extent.name, memory, place.offset, count, extent.dtype, constant, extent.elements)

    def release(self, parts: Sequence[tuple[int, int]]) -> None:
        """Parts of the arena whose life has ended are poisoned."""
        if self.arena.initialised is None:
            return
        for offset, size in parts:
            self.arena.bytes[offset : offset + size] = POISON
            self.arena.initialised[offset : offset + size] = False

    def copy_outputs(self) -> None:
        """The copies after all launches."""
        for copy in self.program.copies:
            source, target = self._memory(copy.source), self._memory(copy.target)
            begin, end = copy.source.offset, copy.target.offset
            target.bytes[end : end + copy.bytes] = source.bytes[begin : begin + copy.bytes]

    def outputs(self) -> dict[str, np.ndarray]:
        """By name."""
        return {
            binding.name: memory.bytes.view(host.dtype_of(binding.dtype)).reshape(binding.shape).copy()
            for binding, memory in zip(self.program.bindings, self.bindings, strict=True)
            if not binding.is_input
        }


def tensor_map(spec: host.TensorMap, buffer: GlobalBuffer) -> TensorMap:
    """The map that the driver would encode; the program lists dimensions outermost first, a map innermost first."""
    item = buffer.dtype.itemsize
    dims, steps = spec.shape[::-1], spec.element_strides[::-1]
    strides = tuple(stride * item for stride in spec.strides[::-1][1:])
    rounded = spec.dtype.startswith("tf32")
    if spec.kind == "tiled":
        return TensorMap(buffer, dims, strides, spec.box[::-1], steps, spec.swizzle, None, rounded)
    pixels, channels = spec.box
    column = Im2col(spec.lower[::-1], spec.upper[::-1], channels=channels, pixels=pixels)
    return TensorMap(buffer, dims, strides, (), steps, spec.swizzle, column, rounded)
