"""What the project's own tests import, test by test: operators that no suite has are seen there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import pytest
from xdsl.dialects.builtin import ModuleOp

from stepwell.frontends.events import ImportEvents

Import = tuple[ModuleOp, ImportEvents]


class _Watch:
    """A pytest plugin that keeps what a door imports in tests that pass."""

    def __init__(self, door: str) -> None:
        self.importer = import_module(f"stepwell.frontends.{door}.importer")
        self.events_of, self.module_of = self.importer.events_of, self.importer.module_of
        self.kept: list[Import] = []
        self._here: list[Import] = []
        self._events = ImportEvents()

    def _new_events(self, *words: Any) -> ImportEvents:
        self._events = self.events_of(*words)
        return self._events

    def _new_module(self, *words: Any) -> ModuleOp:
        module: ModuleOp = self.module_of(*words)
        self._here.append((module, self._events))
        return module

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        self._here = []
        self.importer.events_of, self.importer.module_of = self._new_events, self._new_module  # type: ignore[attr-defined]
        try:
            made = yield
        finally:
            self.importer.events_of, self.importer.module_of = self.events_of, self.module_of  # type: ignore[attr-defined]
        self.kept += self._here
        return made


def imports_of_tests(door: str, paths: Sequence[str]) -> list[Import]:
    """Every module that the door made in the tests under `paths` that pass, with what the import told."""
    watch = _Watch(door)
    pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--no-header", *paths], plugins=[watch])
    return watch.kept
