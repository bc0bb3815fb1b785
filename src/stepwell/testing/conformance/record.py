"""What was seen, checked in: `tests/conformance/<suite>-<executor>.txt`. Blocks of one status and reason; in them a line for each operator and form
with its element types, those of which not all widths ended so with the widths in brackets; or the names of node tests.

    # right
    Add/column: float16 float32 int8[l-1 l+1]
    # refused: its operands cut the result into 5 dims, tiles have up to 4
    Transpose/five groups: float32
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import wrap

from stepwell.testing.conformance.case import BAD, Outcome, Status

Outcomes = Mapping[str, Outcome]
STATUSES: tuple[Status, ...] = ("right", "refused", "late", *BAD)
_TYPE = re.compile(r"(\w+)(?:\[([^\]]*)\])?")
_PLACE = re.compile(
    r"^(?:/[^:]+|@?[\w.]+(?:(?:,| \+) [\w.]+)*(?: \((?:[^()]|\([^()]*\))*\))?|node '[^']*' \([^)]*\)): "
)
_SHAPE = re.compile(r"<[^>]*>|\[[-\d, ]*\]|(?<=')[^']*(?=')")


def general(reason: str) -> str:
    """A reason without the place and the shapes of one case, and without the advice."""
    return _SHAPE.sub("..", _PLACE.sub("", reason)).partition("; ")[0].strip()


def written(outcomes: Outcomes, names: Iterable[str]) -> str:
    """The text of a record. `names` are all cases that there are: brackets are left out only where every width of them ended alike."""
    blocks: dict[tuple[int, str], list[str]] = {}
    for name, outcome in outcomes.items():
        reason = "" if outcome.status == "right" else general(outcome.reason)
        blocks.setdefault((STATUSES.index(outcome.status), reason), []).append(name)
    whole = _groups(names)
    lines = []
    for (status, reason), alike in sorted(blocks.items()):
        lines.append(f"# {STATUSES[status]}" + (f": {reason}" if reason else ""))
        lines += _lines(alike, whole)
    return "\n".join(lines) + "\n"


def _groups(names: Iterable[str]) -> dict[str, list[str]]:
    """`operator/form/type` -> its widths; node tests have none."""
    groups: dict[str, list[str]] = {}
    for name in names:
        head, slash, width = name.rpartition("/")
        if slash:
            groups.setdefault(head, []).append(width)
    return groups


def _lines(names: list[str], whole: Mapping[str, list[str]]) -> list[str]:
    here = _groups(names)
    forms: dict[str, list[str]] = {}
    for head, widths in here.items():
        form, _, type = head.rpartition("/")
        forms.setdefault(form, []).append(type if widths == whole[head] else f"{type}[{' '.join(widths)}]")
    tests = [name for name in names if "/" not in name]
    return [
        *(f"{form}: {' '.join(types)}" for form, types in sorted(forms.items())),
        *wrap(" ".join(sorted(tests)), 120, break_on_hyphens=False, break_long_words=False),
    ]


def read(text: str, names: Iterable[str]) -> dict[str, Outcome]:
    """The outcomes of a record, of the cases that there are; ValueError for a line that is about none of them."""
    listed = list(names)
    known, groups = set(listed), _groups(listed)
    found: dict[str, Outcome] = {}
    outcome = Outcome("right")
    for line in text.splitlines():
        if line.startswith("# "):
            status, _, reason = line[2:].partition(": ")
            outcome = Outcome(status, reason)  # type: ignore[arg-type]
            continue
        for name in _names(line, groups):
            if name not in known:
                raise ValueError(f"there is no case {name}")
            found[name] = outcome
    return found


def _names(line: str, groups: Mapping[str, list[str]]) -> list[str]:
    form, colon, types = line.partition(": ")
    if not colon:
        return line.split()
    return [
        f"{form}/{type}/{width}"
        for type, widths in _TYPE.findall(types)
        for width in (widths.split() if widths else groups.get(f"{form}/{type}", ["?"]))
    ]


def losses(recorded: Outcomes, seen: Outcomes) -> list[str]:
    """What a record may not lose: cases that were right and are not, and what is bad where it was not."""
    found = []
    for name, outcome in seen.items():
        before = recorded.get(name, Outcome("refused")).status
        if outcome.status in ("right", before) or before in (*BAD, "late"):
            continue
        found.append(f"{name}: {before} -> {outcome.status}: {outcome.reason}")
    return found


def record_path(folder: Path, suite: str, executor: str) -> Path:
    """Where a record lies."""
    return folder / f"{suite}-{executor}.txt"
