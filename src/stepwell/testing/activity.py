"""Whether a pass did anything: `check_pass` tells of each module, and whoever watches (the pytest plugin, a test at a time) learns of passes that
changed none. A property that holds because nothing ever happens is no property."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LEAST = 5
"""Fewer modules say nothing: a test may try a pass on the one that it leaves alone."""

Runs = dict[str, list[bool]]
"""Pass name -> for each module whether it was changed."""

_watched: ContextVar[Runs | None] = ContextVar("runs of check_pass", default=None)


@contextmanager
def watched() -> Iterator[Runs]:
    """The runs of `check_pass` inside."""
    runs: Runs = {}
    token = _watched.set(runs)
    try:
        yield runs
    finally:
        _watched.reset(token)


def tell(pass_name: str, changed: bool) -> None:
    """A pass was checked on one more module."""
    runs = _watched.get()
    if runs is not None:
        runs.setdefault(pass_name, []).append(changed)


def idle(runs: Runs) -> list[tuple[str, int]]:
    """The passes that changed none of their modules, and how many those were."""
    return [(name, len(changes)) for name, changes in runs.items() if len(changes) >= LEAST and not any(changes)]
