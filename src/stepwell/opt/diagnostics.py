"""`--verify-diagnostics`: the input says in comments which errors and remarks it expects, as in MLIR.

`// expected-error {{text}}` speaks of its own line (of a fused location, of the line of any op that was fused), `@+1`, `@-2` of one relative to it, `@above` and `@below` of the nearest line
that has no such comment, `@unknown` of a diagnostic without a place. The text must be contained in the message; with `expected-error-re`
what stands between `{{` and `}}` in double braces is a regular expression.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stepwell.ir.source import SourceError, SourceMap
from stepwell.passes import PassFailure
from stepwell.runtime.errors import StepwellError

EXPECTATION = re.compile(
    r"expected-(?P<kind>error|remark)(?P<regex>-re)?(?:@(?P<place>[+-]\d+|above|below|unknown))?\s*\{\{(?P<text>.*?)\}\}\s*$"
)


@dataclass(frozen=True)
class Diagnostic:
    """Something said about a line (0: about none); of ops that were fused, about each of `lines`, the first of which is `line`."""

    kind: str
    line: int
    message: str
    lines: tuple[int, ...] = ()


@dataclass(frozen=True)
class Expectation:
    """Something that must be said."""

    kind: str
    line: int
    text: str
    regex: bool

    def matches(self, found: Diagnostic) -> bool:
        """Whether `found` is what is expected."""
        if self.kind != found.kind or self.line not in (found.line, *found.lines):
            return False
        return bool(re.search(self.text, found.message)) if self.regex else self.text in found.message


def expectations(text: str) -> list[Expectation]:
    """All expectations in the comments of `text`."""
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines, start=1):
        match = EXPECTATION.search(line)
        if not match:
            continue
        place = _place(match["place"], number, lines)
        found.append(Expectation(match["kind"], place, match["text"], bool(match["regex"])))
    return found


def _place(place: str | None, number: int, lines: list[str]) -> int:
    if place is None:
        return number
    if place == "unknown":
        return 0
    if place not in ("above", "below"):
        return number + int(place)
    step = 1 if place == "below" else -1
    number += step
    while 0 < number <= len(lines) and EXPECTATION.search(lines[number - 1]):
        number += step
    return number


def diagnostics_of(error: StepwellError, source: SourceMap) -> list[Diagnostic]:
    """The diagnostics that an error stands for: one for each problem of a text, else one at the op that it names."""
    if isinstance(error, SourceError):
        return [Diagnostic("error", problem.line, problem.message) for problem in error.problems]
    names = tuple(error.where.split(" + ")) if error.where else ()
    line = source.line(error.op) if isinstance(error, PassFailure) else 0
    if line:
        return [Diagnostic("error", line, str(error))]
    return [named_diagnostic("error", names, str(error), source)]


def named_diagnostic(kind: str, names: tuple[str, ...], message: str, source: SourceMap) -> Diagnostic:
    """What is said about ops by their source names."""
    lines = tuple(source.lines_of_names(names))
    return Diagnostic(kind, lines[0] if lines else 0, message, lines)


def mismatches(expected: list[Expectation], found: list[Diagnostic], offset: int = 0) -> list[str]:
    """What was expected and not said, and which errors were said and not expected; each diagnostic meets one expectation."""
    left = list(found)
    reasons = []
    for expectation in expected:
        met = next((d for d in left if expectation.matches(d)), None)
        if met is None:
            reasons.append(
                f'line {_shown(expectation.line, offset)}: expected {expectation.kind} "{expectation.text}" was not produced'
            )
        else:
            left.remove(met)
    judged = {"error"} | {expectation.kind for expectation in expected}
    reasons += [f"line {_shown(d.line, offset)}: unexpected {d.kind}: {d.message}" for d in left if d.kind in judged]
    return reasons


def _shown(line: int, offset: int) -> str:
    return str(line + offset) if line else "unknown"
