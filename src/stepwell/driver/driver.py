"""Runs passes over a module: verifies what it touched after each, tells observers, and turns a pass that fails by our fault into a reproducer.

The reproducer is made by running the passes before the failing one again on a copy of the input: passes are deterministic, and so
the path on which nothing fails costs one copy of the input and no more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.passes import ModulePass
from xdsl.utils.arg_spec import ArgSpec, parse_pipeline
from xdsl.utils.exceptions import ArgSpecParseError, PassFailedException, VerifyException

from stepwell.driver.reproducers import FAULT, write_reproducer
from stepwell.driver.verifying import ModuleVerifier
from stepwell.ir.printing import module_text
from stepwell.passes import PassFailure, StepwellPass
from stepwell.plugins.universe import find_pass
from stepwell.runtime.errors import InternalError, StepwellError, UsageError
from stepwell.runtime.memory import from_exception


class Observer:
    """Told of every pass; the hooks do nothing unless overridden."""

    def before(self, step: int, pass_: ModulePass, module: ModuleOp) -> None:
        """`pass_`, number `step` of the run, is about to be applied."""

    def after(self, step: int, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        """`pass_` was applied, and the module verifies."""

    def failed(self, step: int, pass_: ModulePass, module: ModuleOp, error: Exception) -> None:
        """`pass_` refused (a StepwellError) or failed by our fault."""

    def finish(self, module: ModuleOp) -> None:
        """All passes were applied."""


@dataclass
class Driver:
    """How passes are run. `command` are the words that a reproducer's RUN line needs beside `-p`; `raw` lets failures through as they are;
    `folder` is where reproducers go (default: `reproducers_folder`)."""

    ctx: Context
    observers: Sequence[Observer] = ()
    verify: bool = True
    raw: bool = False
    command: str = ""
    folder: str | Path | None = None
    step: int = field(default=0, init=False)
    _verifier: ModuleVerifier = field(default_factory=ModuleVerifier, init=False)

    def run(self, module: ModuleOp, passes: Sequence[ModulePass]) -> None:
        """Apply `passes` in order to `module`."""
        start = module.clone() if passes and not self.raw else module
        for position, pass_ in enumerate(passes):
            for observer in self.observers:
                observer.before(self.step, pass_, module)
            begun = time.perf_counter()
            try:
                self._apply(pass_, module)
            except Exception as error:
                for observer in self.observers:
                    observer.failed(self.step, pass_, module, error)
                if self.raw or not is_fault(error):
                    raise
                raise self._our_fault(start, passes[:position], pass_, error) from error
            seconds = time.perf_counter() - begun
            for observer in self.observers:
                observer.after(self.step, pass_, module, seconds)
            self.step += 1

    def finish(self, module: ModuleOp) -> None:
        """Tell the observers that nothing follows."""
        for observer in self.observers:
            observer.finish(module)

    def _apply(self, pass_: ModulePass, module: ModuleOp) -> None:
        check_pass_level(pass_, module)
        try:
            pass_.apply(self.ctx, module)
        except PassFailedException as error:  # how xDSL's own passes refuse
            raise PassFailure(str(error), where=pass_.name) from error
        if self.verify:
            self._verifier.verify(module)

    def _our_fault(
        self, start: ModuleOp, done: Sequence[ModulePass], failing: ModulePass, error: BaseException
    ) -> InternalError:
        for pass_ in done:
            pass_.apply(self.ctx, start)
        what = (
            "the pass left a module that does not verify" if isinstance(error, VerifyException) else "the pass failed"
        )
        return self._reported(start, f"-p '{failing}'", failing.name, what, error)

    @contextmanager
    def stage(self, name: str, module: ModuleOp, words: str) -> Iterator[None]:
        """A step of compiling that is no pass (making code, serialising): a failure by our fault in the block leaves a reproducer of `module`,
        whose RUN line ends in `words`."""
        try:
            yield
        except Exception as error:
            if self.raw or not is_fault(error):
                raise
            raise self._reported(module, words, name, "failed", error) from error

    def _reported(self, module: ModuleOp, words: str, where: str, what: str, error: BaseException) -> InternalError:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        note = "".join(f"// {line}\n" for line in reason.splitlines())
        run = " ".join(part for part in ("stepwell-opt %s", self.command, words) if part)
        text = module_text(module)
        path = write_reproducer(f"// RUN: {run}\n{note}{text}", run + text, self.folder)
        return ReportedFault(f"{what}: {reason}", where=where, hint=f"reproducer: {path} ({FAULT})")


class ReportedFault(InternalError):
    """A failure by our fault whose reproducer is written."""


def is_fault(error: BaseException) -> bool:
    """Whether an exception is our fault and not reported yet: neither a refusal nor a lack of memory."""
    if isinstance(error, InternalError):
        return not isinstance(error, ReportedFault)
    return not isinstance(error, StepwellError) and from_exception(error, "a pass") is None


def check_pass_level(pass_: ModulePass, module: ModuleOp) -> None:
    """Refuse a pass of ours on a module that says it is at another level: it would do nothing there, or half of what it should. A module that
    says nothing is taken as it is, so that tests may hold single ops."""
    said = module.attributes.get("stepwell.level")
    if isinstance(said, StringAttr) and isinstance(pass_, StepwellPass) and said.data not in (pass_.level, *pass_.also):
        raise UsageError(
            f"the pass works on level '{pass_.level}' and the module is at level '{said.data}'",
            where=pass_.name,
            hint=f"--to {pass_.level} before it, or set stepwell.level if the module says it wrongly",
        )


def parse_specs(text: str) -> list[ArgSpec]:
    """The pass specs of a `-p` string; a UsageError for a malformed one."""
    try:
        return list(parse_pipeline(text))
    except ArgSpecParseError as error:
        raise UsageError(str(error), where="pipeline") from None


def passes_of(text: str) -> list[ModulePass]:
    """The passes of a `-p` string; a UsageError for an unknown pass or option."""
    made: list[ModulePass] = []
    for spec in parse_specs(text):
        try:
            made.append(find_pass(spec.name).from_spec(spec))
        except ValueError as error:
            raise UsageError(str(error), where=spec.name, hint=f"stepwell-opt --help-pass {spec.name}") from None
    return made
