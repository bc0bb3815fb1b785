"""`make passes`: every registered pass with how it is tested; an empty cell fails.

IR tests are the RUN lines under `tests/`: run here, with an observer that notes which passes changed the module (or, where the pass only
verifies, found it right), which refused or said `missed`, and which remarks they left. The solo run and its properties are `check_pass` on the example network, brought to where its
pipeline applies the pass. Passes of installed plugins are listed behind ours and are judged by their own tests: `python -m stepwell.testing.pass_table
--plugin NAME --tests FOLDER`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from stepwell.cli.guard import guarded
from stepwell.driver.driver import Driver, Observer, passes_of
from stepwell.driver.modules import read_model
from stepwell.driver.pipeline import Pipeline, pipeline
from stepwell.frontends.doors import Request
from stepwell.ir.printing import module_text
from stepwell.opt.main import StepwellOpt
from stepwell.passes import StepwellContext, StepwellPass
from stepwell.passes.levels import level_of
from stepwell.passes.remarks import RemarkCollector
from stepwell.passes.target import resolve, write_target
from stepwell.plugins import installed_plugins, plugin_of_pass
from stepwell.plugins.universe import find_pass, pass_modules
from stepwell.runtime.errors import StepwellError, UsageError
from stepwell.testing.check_pass import check_pass
from stepwell.testing.run_line import RunLineError, commands, execute, run_lines

VARIANTS = (("x86-64-v3", "model"), ("sm_90a", "model"), ("sm_90a", "fp16"))
"""Targets and precisions whose pipelines hold every pass."""


@dataclass
class Row:
    """What is known of one pass."""

    name: str
    changed: int = 0
    refused: int = 0
    properties: tuple[str, ...] = ()
    solo_ms: float | None = None
    kinds: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def cells(self) -> list[str]:
        """The columns; an empty one is a fault."""
        pass_class = find_pass(self.name)
        assert issubclass(pass_class, StepwellPass)
        return [
            self.name,
            pass_class.level,
            pass_class.meaning,
            str(self.changed or ""),
            str(self.refused or ""),
            str(len(self.properties) or ""),
            f"{self.solo_ms:.1f} ms" if self.solo_ms is not None else "",
            " ".join(sorted(self.kinds)),
        ]

    def problems(self) -> list[str]:
        """Empty cells, and properties that did not hold."""
        empty = [heading for heading, cell in zip(HEADINGS, self.cells()) if not cell]
        return [f"{self.name}: nothing in column {', '.join(empty)}"] * bool(empty) + [
            f"{self.name}: {fault}" for fault in self.faults
        ]


HEADINGS = ["pass", "level", "meaning", "IR changes", "IR refusals", "properties", "solo run", "remarks"]


@dataclass
class Recorder(Observer):
    """Notes in the rows what every pass of ours does in IR tests."""

    rows: dict[str, Row]
    remarks: RemarkCollector
    text: str = ""
    seen: int = 0

    def before(self, step: int, pass_: ModulePass, module: ModuleOp) -> None:
        self.text, self.seen = module_text(module), len(self.remarks)

    def after(self, step: int, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        kinds = self._kinds(pass_)
        row = self.rows.get(pass_.name)
        if row is None:
            return
        row.changed += module_text(module) != self.text or ("-verify-" in row.name and "analysis" in kinds)
        row.refused += "missed" in kinds

    def failed(self, step: int, pass_: ModulePass, module: ModuleOp, error: Exception) -> None:
        self._kinds(pass_)
        row = self.rows.get(pass_.name)
        if row is not None and isinstance(error, StepwellError):
            row.refused += 1
            row.kinds.add("failed")

    def _kinds(self, pass_: ModulePass) -> set[str]:
        kinds = {str(remark.kind) for remark in self.remarks.remarks[self.seen :] if remark.pass_name == pass_.name}
        if pass_.name in self.rows:
            self.rows[pass_.name].kinds |= kinds
        return kinds


def run_ir_tests(tests: Path, rows: dict[str, Row]) -> list[str]:
    """Run every RUN line that names a pass of ours; the lines that failed."""

    class RecordingOpt(StepwellOpt):
        def make_driver(self) -> Driver:
            driver = super().make_driver()
            driver.observers = [*driver.observers, Recorder(rows, self.ctx.remarks)]
            return driver

    def opt(words: list[str]) -> int:
        return guarded(lambda: RecordingOpt(words).run())

    table = {**commands(), "stepwell-opt": opt}
    failures = []
    for path, line in _lines(tests, rows):
        with tempfile.TemporaryDirectory() as scratch:
            try:
                execute(line, path, Path(scratch), table)
            except RunLineError as error:
                failures.append(f"{path}: {error}")
    return failures


def _lines(tests: Path, rows: Iterable[str]) -> Iterator[tuple[Path, str]]:
    for path in sorted(tests.rglob("*.mlir")):
        for line in run_lines(path.read_text()):
            if any(name in line for name in rows):
                yield path, line


def run_solo(model: Path, shapes: dict[str, tuple[int, ...]], rows: dict[str, Row]) -> None:
    """`check_pass` for every pass, on the network as its pipeline has it there; passes of no pipeline on the network at their level."""
    at_level: dict[str, ModuleOp] = {}
    for target, precision in VARIANTS:
        loaded = read_model(model, Request(shapes=shapes))
        write_target(loaded.module, resolve(target))
        _check_along(pipeline(target, precision), loaded.module, loaded.ctx, rows, at_level)
    for row in rows.values():
        pass_class = find_pass(row.name)
        if row.solo_ms is None and issubclass(pass_class, StepwellPass) and pass_class.level in at_level:
            _check_one(pass_class(), at_level[pass_class.level], loaded.ctx, row)


def _check_along(
    steps: Pipeline, module: ModuleOp, ctx: StepwellContext, rows: dict[str, Row], at_level: dict[str, ModuleOp]
) -> None:
    for pass_ in passes_of(str(steps)):
        at_level.setdefault(level_of(module), module.clone())
        row = rows.get(pass_.name)
        if row is not None and row.solo_ms is None:
            _check_one(pass_, module, ctx, row)
        pass_.apply(ctx, module)


def _check_one(pass_: ModulePass, module: ModuleOp, ctx: StepwellContext, row: Row) -> None:
    copy, begun = module.clone(), time.perf_counter()
    try:
        pass_.apply(ctx, copy)
        row.solo_ms = 1e3 * (time.perf_counter() - begun)
        (report,) = check_pass(pass_, module, ctx)
    except Exception as error:  # noqa: BLE001 - a fault of a plugin's pass is one of its row
        row.faults.append(str(error))
        return
    row.properties = report.properties
    row.kinds |= {remark.kind for remark in report.remarks}


def table_text(rows: Iterable[Row]) -> str:
    """The table, columns aligned."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def passes_of_plugin(name: str) -> list[str]:
    """The names of the passes that the installed plugin called `name` brings; UsageError where there is none."""
    plugins = {plugin.name: plugin for plugin in installed_plugins()}
    if name not in plugins:
        raise UsageError(f"there is no plugin '{name}'", hint=f"installed: {', '.join(plugins) or 'none'}")
    found = plugins[name].universe.all_passes
    return sorted(one for one in found if issubclass(find_pass(one), StepwellPass))


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 when a cell is empty, a RUN line fails or a property does not hold. Passes of plugins are listed behind ours, with
    what is known of them; `--plugin` judges those of one plugin by its own tests."""
    parser = argparse.ArgumentParser(prog="pass_table", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tests", type=Path, default=Path("tests"))
    parser.add_argument("--model", type=Path, default=Path("examples/digits/digits.onnx"))
    parser.add_argument("--plugin", metavar="NAME", help="judge the passes of this plugin, not ours")
    args = parser.parse_args(argv)
    judged = passes_of_plugin(args.plugin) if args.plugin else list(pass_modules())
    others = [] if args.plugin else [name for plugin in installed_plugins() for name in passes_of_plugin(plugin.name)]
    rows = {name: Row(name) for name in [*judged, *others]}
    problems = run_ir_tests(args.tests, rows)
    run_solo(args.model, {"image": (2, 1, 8, 8)}, rows)
    print(table_text(rows.values()))
    for name in others:
        print(f"{name} is of {plugin_of_pass(name)}; it is judged by its own tests: --plugin NAME --tests FOLDER")
    problems += [problem for name in judged for problem in rows[name].problems()]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(guarded(main))
