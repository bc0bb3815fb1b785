"""The errors that users meet: one message, what it is about, what to do, and the exit code of the command that raises
it."""

from __future__ import annotations

from collections.abc import Sequence


class StepwellError(Exception):
    """A mistake or limit that the user can act on. `where` names the node, op, file or option; `hint` says what to
    do."""

    exit_code = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.where, self.hint = message, where, hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{place}{self.message}{advice}"


class ComparisonError(StepwellError, AssertionError):
    """Two results that should agree do not (exit 1)."""


class UsageError(StepwellError):
    """Unknown option, name, target or pass; a missing argument (exit 2)."""

    exit_code = 2


class ModelError(StepwellError):
    """The model is invalid or uses what is unsupported; `reasons` lists everything found, not only the first (exit
    3)."""

    exit_code = 3

    def __init__(self, message: str, *, where: str = "", hint: str = "", reasons: Sequence[str] = ()) -> None:
        super().__init__(message, where=where, hint=hint)
        self.reasons = tuple(reasons)

    def __str__(self) -> str:
        listed = "".join(f"\n  - {reason}" for reason in self.reasons)
        return super().__str__() + listed


class PlanError(StepwellError):
    """The plan file is damaged, foreign or newer, or does not fit this machine (exit 4)."""

    exit_code = 4


class MemoryLimitError(StepwellError):
    """More memory is needed than the cap or the device allows (exit 5)."""

    exit_code = 5


class InternalError(StepwellError):
    """Our fault; a reproducer's path belongs into the hint (exit 70)."""

    exit_code = 70
