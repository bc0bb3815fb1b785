"""The pytest plugin: every `.mlir` file with RUN lines is a test, run in this process; a property in which a pass never did anything is warned of."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

from stepwell.testing.activity import idle, watched


class PassNeverChanged(pytest.PytestWarning):
    """`check_pass` ran in a whole test without one module that the pass changed: the test shows nothing."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Run the test; name the passes that it tried in vain, and the property."""
    with watched() as runs:
        yield
    for name, count in idle(runs):
        text = (
            f"{name} changed none of {count} modules in {item.nodeid}: plant what it looks for (graphs(patterns=[..]))"
        )
        item.warn(PassNeverChanged(text))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.File | None:
    """Collect `.mlir` files that hold a RUN line."""
    if file_path.suffix != ".mlir" or "RUN:" not in file_path.read_text(errors="replace"):
        return None
    return RunFile.from_parent(parent, path=file_path)


class RunFile(pytest.File):
    """A `.mlir` file: one test for each RUN line."""

    def collect(self) -> Iterable[pytest.Item]:
        from stepwell.testing.run_line import run_lines

        for number, line in enumerate(run_lines(self.path.read_text()), start=1):
            yield RunItem.from_parent(self, name=f"RUN{number}", line=line)


class RunItem(pytest.Item):
    """One RUN line."""

    def __init__(self, *, line: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.line = line

    def runtest(self) -> None:
        from stepwell.testing.run_line import execute

        with tempfile.TemporaryDirectory() as scratch:
            execute(self.line, self.path, Path(scratch))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str | Any:
        from stepwell.testing.run_line import RunLineError

        if isinstance(excinfo.value, RunLineError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.name}: {self.line}"
