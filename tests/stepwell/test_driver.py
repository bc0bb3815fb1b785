"""The driver: observers, refusals, and reproducers for passes that fail by our fault."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntAttr, IntegerAttr, ModuleOp, StringAttr, i32
from xdsl.passes import ModulePass

from stepwell.driver.driver import Driver, Observer, passes_of
from stepwell.passes import PassFailure, Rewriter, rewrite
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import InternalError, UsageError
from stepwell.testing.run_line import execute, run_lines


@dataclass(frozen=True)
class Crash(ModulePass):
    """Fails by its own fault."""

    name = "test-crash"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        raise ZeroDivisionError("by design")


@dataclass(frozen=True)
class Refuse(ModulePass):
    """Refuses."""

    name = "test-refuse"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        raise PassFailure("cannot", hint="never will")


@dataclass(frozen=True)
class Append(ModulePass):
    """Appends a constant."""

    name = "test-append"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        op.body.block.add_op(arith.ConstantOp.from_int_and_width(7, i32))


class Names(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def before(self, step: int, pass_: ModulePass, module: ModuleOp) -> None:
        self.told.append(f"before {step} {pass_.name}")

    def after(self, step: int, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        self.told.append(f"after {step} {pass_.name}")


def test_observers_are_told_in_order() -> None:
    names = Names()
    Driver(make_context(), [names]).run(ModuleOp([]), [Append(), *passes_of("canonicalize")])
    assert names.told == [
        "before 0 test-append",
        "after 0 test-append",
        "before 1 canonicalize",
        "after 1 canonicalize",
    ]


def test_crash_leaves_a_reproducer_that_is_a_test(tmp_path: Path) -> None:
    with pytest.raises(InternalError) as caught:
        Driver(make_context(), folder=str(tmp_path)).run(ModuleOp([]), [Append(), Crash()])
    (reproducer,) = tmp_path.glob("*.mlir")
    assert str(reproducer) in str(caught.value) and caught.value.exit_code == 70
    text = reproducer.read_text()
    assert text.startswith("// RUN: stepwell-opt %s -p 'test-crash'\n")
    assert "arith.constant 7" in text, "the reproducer holds the module as the failing pass found it"
    assert "ZeroDivisionError: by design" in text


def test_reproducer_goes_elsewhere_when_the_folder_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="reproducer: "):
        Driver(make_context(), folder=str(tmp_path / "nowhere")).run(ModuleOp([]), [Crash()])


def test_refusal_is_no_crash(tmp_path: Path) -> None:
    with pytest.raises(PassFailure, match="cannot"):
        Driver(make_context(), folder=str(tmp_path)).run(ModuleOp([]), [Refuse()])
    assert not list(tmp_path.iterdir())


def test_raw_failures_come_through() -> None:
    with pytest.raises(ZeroDivisionError):
        Driver(make_context(), raw=True).run(ModuleOp([]), [Crash()])


@pytest.mark.parametrize("text", ["nothing-like-it", "canonicalize{", "canonicalize{a=1}", "cse,,", "!"])
def test_bad_pipelines_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError):
        passes_of(text)


def test_near_names_are_suggested() -> None:
    with pytest.raises(UsageError, match="did you mean canonicalize"):
        passes_of("canonicalise")


def test_reproducer_line_runs(tmp_path: Path) -> None:
    path = tmp_path / "a.mlir"
    path.write_text(
        "// RUN: stepwell-opt %s -p 'cse' | \\\n// RUN: filecheck %s\n// CHECK: builtin.module\nbuiltin.module {}\n"
    )
    (line,) = run_lines(path.read_text())
    execute(line, path, tmp_path)


@pytest.mark.parametrize("pipeline", ["graph-remove-dead", "stepwell-convert-linalg-to-tile"])
def test_a_pass_of_another_level_is_refused(pipeline: str) -> None:
    module = ModuleOp([], {"stepwell.level": StringAttr("tile")})
    with pytest.raises(UsageError, match="and the module is at level 'tile'"):
        Driver(make_context()).run(module, passes_of(pipeline))


def test_a_pass_may_work_on_several_levels() -> None:
    for level in ("plan", "kernel"):
        Driver(make_context()).run(
            ModuleOp([], {"stepwell.level": StringAttr(level)}), passes_of("plan-verify-predecessors")
        )


@rewrite("test-two-then-refuse", level="graph", meaning="changes", recursive=False)
def two_then_refuse(op: arith.ConstantOp, rewriter: Rewriter) -> None:
    """Makes 2 of every 1 and refuses every 3."""
    match op.value:
        case IntegerAttr(value=IntAttr(data=1)):
            rewriter.replace(op, arith.ConstantOp.from_int_and_width(2, 32))
        case IntegerAttr(value=IntAttr(data=3)):
            raise PassFailure("a 3")


def test_a_rewrite_that_refuses_leaves_the_module_as_it_was() -> None:
    module = ModuleOp([arith.ConstantOp.from_int_and_width(1, 32), arith.ConstantOp.from_int_and_width(3, 32)])
    before = str(module)
    with pytest.raises(PassFailure, match="a 3"):
        Driver(make_context()).run(module, [two_then_refuse()])
    assert str(module) == before
    module.verify()
