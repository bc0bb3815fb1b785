"""Engines: a plan on this machine. `load` picks the best section that the machine takes and says which, and why not a
better one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from stepwell.runtime.arguments import table_bytes
from stepwell.runtime.cpu import CpuModule
from stepwell.runtime.cpu_host import check_host
from stepwell.runtime.errors import PlanError, UsageError
from stepwell.runtime.memory import memory_for
from stepwell.runtime.plan_file import Plan, Section, read_plan, write_plan
from stepwell.runtime.process_lock import ProcessLock
from stepwell.runtime.program import Program


class Context(Protocol):
    """One execution at a time, with all its memory."""

    def run(self, inputs: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Inputs by name in, outputs by name out; returns when they are there."""

    def bind(self, name: str, memory: Any) -> None:
        """Use the caller's memory for a binding."""

    def enqueue(self, stream: int = 0) -> None:
        """Start one execution on what is bound, without waiting where the device allows it."""

    def measure(self, repeat: int = 20) -> list[float]:
        """Seconds of single executions on what the bindings hold, copies of inputs and outputs not counted."""

    def profile(self, repeat: int = 10) -> list[tuple[str, float]]:
        """(name, median seconds) of each launch."""

    def close(self) -> None:
        """Give back everything."""


class Module(Protocol):
    """A loaded section: code and constants on a device."""

    program: Program

    @property
    def device(self) -> str:
        """What it runs on."""

    def create_context(self, threads: int | None = None) -> Context:
        """Take all memory of one execution."""

    def close(self) -> None:
        """Give back code and constants."""


@dataclass(frozen=True)
class BindingInfo:
    """An input or output as users see it."""

    index: int
    name: str
    is_input: bool
    dtype: str
    shape: tuple[int, ...]
    bytes: int


class Engine:
    """A plan loaded on this machine: immutable; contexts hold what an execution writes. With `deferred` the section is chosen and loaded
    when it is first asked for, so that a plan for another machine can be saved."""

    def __init__(self, plan: Plan, target: str = "auto", threads: int | None = None, *, deferred: bool = False) -> None:
        self.plan, self._target, self._threads = plan, target, threads
        self._default: Context | None = None
        self._turns, self._loading = ProcessLock(), ProcessLock()
        self._loaded: tuple[Module, Section, tuple[tuple[str, str], ...]] | None = None
        if not deferred:
            self._load()

    def _load(self) -> tuple[Module, Section, tuple[tuple[str, str], ...]]:
        with self._loading.here():
            if self._loaded is None:
                self._loaded = _choose(self.plan, self._target, self._threads)
            return self._loaded

    @property
    def module(self) -> Module:
        """The loaded section."""
        return self._load()[0]

    @property
    def section(self) -> Section:
        """The section that was chosen."""
        return self._load()[1]

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Better sections that this machine does not take, with the reason."""
        return self._load()[2]

    @property
    def program(self) -> Program:
        """What is allocated and launched."""
        return self.module.program

    @property
    def bindings(self) -> tuple[BindingInfo, ...]:
        """Inputs and outputs, in the plan's order."""
        return tuple(
            BindingInfo(index, b.name, b.is_input, b.dtype, b.shape, b.bytes)
            for index, b in enumerate(self.program.bindings)
        )

    @property
    def memory(self) -> dict[str, int]:
        """Bytes, known before anything is allocated: arena, pointer tables and bindings per context, constants per
        engine."""
        program = self.program
        tables = sum(map(table_bytes, program.tables))
        return {**program.memory, "arena": program.arena, "constants": program.constants, "tables": tables}

    @property
    def choice(self) -> str:
        """Which section runs, where, and why better ones do not."""
        because = "".join(f"; {name} is skipped: {reason}" for name, reason in self.skipped)
        return f"section {self.section.name} on {self.module.device}{because}"

    def create_context(self, profile: int = 0, threads: int | None = None) -> Context:
        """A context of its own memory and threads. Plans have one shape profile, number 0."""
        if profile != 0:
            raise UsageError(f"there is no profile {profile}", hint="this plan has one profile: 0")
        count = self._threads if threads is None else threads
        _check_threads(self.section, count)
        if self.program.target != "cpu":
            return self.module.create_context()
        memory = self.memory
        needed = memory["arena"] + memory["tables"] + sum(binding.bytes for binding in self.program.bindings)
        with memory_for("a context (arena, tables and bindings)", needed):
            return self.module.create_context(count)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Execute on a context that the engine keeps for itself; calls from several threads take turns."""
        with self._turns.here():
            if self._default is None:
                self._default = self.create_context()
            return self._default.run(inputs)

    def profile(self, inputs: Mapping[str, Any], repeat: int = 10) -> list[tuple[str, float]]:
        """(name, median seconds) of each launch, after one run on `inputs`."""
        self.run(inputs)
        with self._turns.here():
            assert self._default is not None
            return self._default.profile(repeat)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan file: all sections, whichever one runs here."""
        write_plan(self.plan, path)

    def close(self) -> None:
        """Give back the memory of the engine; contexts made by `create_context` are closed by whoever made them."""
        with self._turns.here():
            if self._default is not None:
                self._default.close()
                self._default = None
            if self._loaded is not None:
                self.module.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def load(path: str | os.PathLike[str], target: str = "auto", threads: int | None = None) -> Engine:
    """Load a plan file. `target`: auto (the best section that this machine takes), cpu, cuda, or a section's name."""
    return Engine(read_plan(path), target, threads)


def _rank(section: Section) -> tuple[int, str]:
    """Better sections first: GPU code by architecture, then CPU code by level, highest first."""
    return (0 if section.target == "cpu" else 1, section.level or section.target)


def _choose(plan: Plan, target: str, threads: int | None) -> tuple[Module, Section, tuple[tuple[str, str], ...]]:
    """The first section, best first, that loads; PlanError with every reason when none does."""
    sections = sorted(plan.sections, key=_rank, reverse=True)
    wanted = [s for s in sections if target in ("auto", s.name, s.target) or (target == "cuda" and s.target != "cpu")]
    if not wanted:
        names = ", ".join(section.name for section in sections) or "none"
        raise PlanError(f"there is no section for {target}", where=plan.path, hint=f"the plan has: {names}")
    skipped: list[tuple[str, str]] = []
    for section in wanted:
        try:
            _check_machine(section)
        except PlanError as error:
            skipped.append((section.name, str(error).replace("\n  hint:", " -")))
        else:
            _check_threads(section, threads)
            return _open(section), section, tuple(skipped)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped)
    raise PlanError(f"no section fits this machine: {reasons}", where=plan.path)


def _check_threads(section: Section, threads: int | None) -> None:
    """A UsageError for a number of threads where no CPU computes."""
    if threads is not None and section.target != "cpu":
        raise UsageError(
            f"threads = {threads}, but section {section.name} runs on a GPU",
            where="threads",
            hint='leave threads out, or choose target="cpu"',
        )


def _check_machine(section: Section) -> None:
    """PlanError when this machine cannot run the section's code, whatever state it is in."""
    if section.target == "cpu":
        check_host(section.level)
        return
    from stepwell.runtime.cuda_driver import check_device  # loads cuda.bindings, which CPU plans run without

    check_device(section.target)


def _open(section: Section) -> Module:
    if section.target == "cpu":
        return CpuModule(section)
    from stepwell.runtime.cuda import CudaModule

    return CudaModule(section)
