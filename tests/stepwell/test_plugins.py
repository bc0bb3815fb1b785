"""Plugins: a broken one is named and left out, what is there is listed like ours, and an op brings its interpreter, its levels and its reference."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp, TensorType, f32, i32
from xdsl.ir import Attribute
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, result_def, traits_def
from xdsl.traits import OpTrait
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects.graph.interpreter import run_graph_op
from stepwell.passes.levels import check_level
from stepwell.plugins import PATH_VARIABLE, AtLevels, Interpreted, Reference, installed_plugins, warn
from stepwell.plugins.universe import find_pass, installed_universe, make_context
from stepwell.runtime.errors import ModelError, UsageError
from stepwell.testing.check_op import check_op
from stepwell.testing.pass_table import main as pass_table
from stepwell.testing.run_line import call

ROOT = Path(__file__).resolve().parents[2]
MODULE = "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n  func.return %x : tensor<2xf32>\n}\n"
GOOD = """
    '''acme-nothing: the page of the pass.'''
    from xdsl.universe import Universe
    from stepwell.dialects import graph
    from stepwell.passes import Rewriter, rewrite

    @rewrite("acme-nothing", level="graph", meaning="exact")
    def nothing(op: graph.UnaryOp, rewriter: Rewriter) -> None:
        '''Do nothing at all.'''

    UNIVERSE = Universe(all_passes={"acme-nothing": lambda: nothing})
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with one module and an entry point on the import path."""

    def add(code: str, name: str = "acme") -> None:
        info = tmp_path / f"{name}_plugin-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text(f"[xdsl.universe]\n{name} = {name}_plugin:UNIVERSE\n")
        (tmp_path / f"{name}_plugin.py").write_text(dedent(code))
        monkeypatch.syspath_prepend(tmp_path)

    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    warn.cache_clear()
    (tmp_path / "a.mlir").write_text(MODULE)
    yield add
    warn.cache_clear()
    for path in tmp_path.glob("*_plugin.py"):
        sys.modules.pop(path.stem, None)


BROKEN = [
    ("import nowhere_to_be_found", "acme_plugin:UNIVERSE cannot be loaded: ModuleNotFoundError: No module named"),
    ("raise SystemExit('by design')", "acme_plugin:UNIVERSE cannot be loaded: SystemExit: by design"),
    ("UNIVERSE = 3", "acme_plugin:UNIVERSE is no xdsl.universe.Universe"),
    ("", "acme_plugin:UNIVERSE cannot be loaded: AttributeError: "),
    (
        GOOD.replace('"exact"', '"exactly"'),
        "acme_plugin:UNIVERSE cannot be loaded: UsageError: acme-nothing: meaning='exactly' is no meaning",
    ),
]


@pytest.mark.parametrize(("code", "reason"), BROKEN)
def test_a_broken_plugin_is_named_once_and_left_out(code: str, reason: str, install: Install, tmp_path: Path) -> None:
    install(code)
    install(GOOD.replace("acme", "fine"), "fine")
    status, out, said = call(["stepwell-opt", str(tmp_path / "a.mlir"), "-p", "cse,fine-nothing"])
    assert (status, "func.func @main" in out) == (0, True)
    assert said.startswith(f"warning: plugin 'acme' (acme-plugin 0.1) is left out: {reason}") and said.count("\n") == 1
    status, out, said = call(["stepwell-opt", "--list-passes"])
    assert status == 0 and "graph-remove-dead" in out and "fine-nothing" in out and said == ""


def test_parts_of_a_plugin_that_cannot_be_made(install: Install, tmp_path: Path) -> None:
    broken = GOOD.replace(
        "lambda: nothing}", "lambda: nothing, 'acme-broken': lambda: 1 / 0, 'acme-number': lambda: 3}"
    )
    install(broken)
    status, out, _ = call(["stepwell-opt", "--list-passes"])
    assert status == 0 and "acme-broken                          [?] cannot be loaded: ZeroDivisionError" in out
    for name, reason in (("acme-broken", "ZeroDivisionError: division by zero"), ("acme-number", "3 is no ModulePass")):
        status, _, said = call(["stepwell-opt", str(tmp_path / "a.mlir"), "-p", name])
        assert status == 2
        assert f"error: plugin 'acme' (acme-plugin 0.1): pass '{name}': cannot be loaded: {reason}" in said


def test_names_that_are_taken_stay_with_their_owners(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    taken = 'all_passes={"cse": lambda: nothing, "graph-remove-dead": lambda: nothing, "acme-nothing"'
    install(GOOD.replace('all_passes={"acme-nothing"', taken))
    install(GOOD, "later")
    assert [sorted(plugin.universe.all_passes) for plugin in installed_plugins()] == [["acme-nothing"], []]
    said = capsys.readouterr().err
    assert "plugin 'acme' (acme-plugin 0.1): its pass 'cse' is left out: there is one already" in said
    assert "its pass 'graph-remove-dead' is left out" in said
    assert "plugin 'later' (later-plugin 0.1): its pass 'acme-nothing' is left out" in said
    assert find_pass("cse").__module__.startswith("xdsl.")
    assert set(make_context().registered_dialect_names) >= set(installed_universe().all_dialects)


def test_only_plugins_of_the_named_folders_are_seen(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(GOOD)
    for folders, seen in (
        (str(tmp_path), True),
        ("", False),
        (f"/nowhere{os.pathsep}{tmp_path}", True),
        ("/tmp", False),
    ):
        monkeypatch.setenv(PATH_VARIABLE, folders)
        assert ([plugin.name for plugin in installed_plugins()] == ["acme"]) == seen
    monkeypatch.delenv(PATH_VARIABLE)
    assert "acme" in [plugin.name for plugin in installed_plugins()]


def test_passes_of_plugins_are_listed_like_ours(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install(GOOD)
    _, out, _ = call(["stepwell-opt", "--list-passes"])
    lines = out.splitlines()
    at = lines.index("from plugin 'acme' (acme-plugin 0.1):")
    assert lines[at + 1] == "acme-nothing                         [graph, exact] Do nothing at all."
    assert "from xDSL:" in lines[at:] and "  acme-nothing" not in lines
    _, out, _ = call(["stepwell-opt", "--help-pass", "acme-nothing"])
    assert "  level: graph\n  meaning: exact\n  from: plugin 'acme' (acme-plugin 0.1)\n" in out
    assert "Do nothing at all." in out and "the page of the pass" in out


def test_the_table_of_passes_judges_a_plugin_by_its_own_tests(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(GOOD)
    model = ROOT / "examples" / "digits" / "digits.onnx"
    words = ["--plugin", "acme", "--tests", str(tmp_path), "--model", str(model)]
    assert pass_table(words) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].split()[:3] == ["acme-nothing", "graph", "exact"]
    assert "acme-nothing: nothing in column IR changes, IR refusals, remarks" in printed.err
    with pytest.raises(UsageError, match="there is no plugin 'nobody'\n  hint: installed: .*acme"):
        pass_table(["--plugin", "nobody"])


ADDING = """
    import numpy as np
    from xdsl.universe import Universe
    from stepwell.dialects import graph
    from stepwell.passes import Rewriter, rewrite

    @rewrite("acme-add", level="graph", meaning="changes", recursive=False)
    def add(op: graph.UnaryOp, rewriter: Rewriter) -> None:
        one = rewriter.add_weight(np.ones(op.result.type.get_shape(), np.float32), "one")
        rewriter.replace(op, graph.BinaryOp(op.operand, one.result, kind="add"))

    UNIVERSE = Universe(all_passes={"acme-add": lambda: add})
"""


@pytest.mark.parametrize("source", [[], ["--weights", "random:0"]])
def test_added_weights_travel_with_the_text(source: list[str], install: Install, tmp_path: Path) -> None:
    """Made up weights or none: what a pass added is in the file, and is never made up; without a file a warning says so."""
    install(ADDING)
    network = tmp_path / "n.mlir"
    network.write_text(
        MODULE.replace("return %x", "return %y").replace(
            "{\n", '{\n  %y = graph.unary relu %x : tensor<2xf32> -> tensor<2xf32> loc("act")\n', 1
        )
    )
    kept, out = tmp_path / "n.safetensors", tmp_path / "out.mlir"
    run = ["stepwell-opt", str(network), "-p", "acme-add", *source]
    status, text, said = call(run)
    assert status == 0 and "one#" in text
    assert said.startswith("warning: 1 weights that passes added are not kept: one#") and "--weights-out" in said
    assert call([*run, "--weights-out", str(kept), "-o", str(out)]) == (0, "", "")
    lowered = ["stepwell-opt", str(out), "-p", "graph-remove-dead", "--check-semantics"]
    assert call(lowered)[0] == 0
    status, _, said = call([*lowered, "--weights", "random:0"])
    assert status == 3 and "a pass computed this weight, and random:0 cannot make it up" in said


# --- ops


def double(op: IRDLOperation, x: np.ndarray) -> np.ndarray:
    return x + x


def double_exactly(op: IRDLOperation, x: np.ndarray) -> np.ndarray:
    return 2 * x


def op_class(op_name: str, *op_traits: OpTrait) -> type[IRDLOperation]:
    """An op of one operand and one result with these traits."""

    @irdl_op_definition
    class Made(IRDLOperation):
        """An op of a plugin."""

        name = op_name
        operand = operand_def(TensorType)
        result = result_def(TensorType)
        traits = traits_def(*op_traits)

    return Made


DoubleOp = op_class("acme.double", AtLevels(("graph", "linalg")), Interpreted(double), Reference(double_exactly))


def doubled(element: Attribute = f32, cls: type[IRDLOperation] = DoubleOp) -> IRDLOperation:
    kind = TensorType(element, [3])
    return cls(operands=[create_ssa_value(kind)], result_types=[kind])


def test_an_op_brings_its_interpreter_and_its_reference() -> None:
    op, x = doubled(), np.array([1, -0.0, np.nan], np.float32)
    np.testing.assert_array_equal(run_graph_op(op, [x])[0], x + x)
    assert run_graph_op(op, [x])[0].dtype == np.float32
    exact = run_graph_op(op, [np.array([0.1, 0.2, 0.3])], float64=True)[0]
    assert exact.dtype == np.float64 and exact[0] == 0.2
    for element in (f32, i32):
        assert check_op(doubled(element), [1, 2, -3])[0].tolist() == [2, 4, -6]


WRONG_OPS = [
    ((AtLevels(("graph",)), Interpreted(double)), UsageError, "acme.other: the op has no trait Reference"),
    (
        (AtLevels(("grahp",)), Interpreted(double), Reference(double)),
        UsageError,
        "acme.other: 'grahp' is no level\n  hint: levels: graph, linalg",
    ),
    (
        (AtLevels(("graph",)), Interpreted(lambda op, x: x * 1.001), Reference(double)),
        AssertionError,
        r"acme.other: result 0 is .* units in the last place off, allowed are 2",
    ),
    (
        (AtLevels(("graph",)), Interpreted(lambda op, x: x / 0), Reference(double)),
        AssertionError,
        "acme.other: NaN or infinity at other places",
    ),
    (
        (AtLevels(("graph",)), Interpreted(lambda op, x: x.astype(np.float64)), Reference(double)),
        ModelError,
        r"acme.other: its interpreter gave float64\[3\], the results are float32\[3\]",
    ),
]


@pytest.mark.parametrize(("traits", "error", "message"), WRONG_OPS)
def test_wrong_ops_are_caught(traits: tuple[OpTrait, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_op(doubled(cls=op_class("acme.other", *traits)), [1, 2, 3])


def test_integers_are_compared_exactly() -> None:
    wrong = op_class("acme.other", AtLevels(("graph",)), Interpreted(lambda op, x: x), Reference(double))
    with pytest.raises(AssertionError, match="acme.other: result 0 is not its reference"):
        check_op(doubled(i32, wrong), [1, 2, 3])


def test_an_op_stands_at_its_levels_only() -> None:
    module = ModuleOp([doubled()])
    check_level(module, "graph")
    check_level(module, "linalg")
    with pytest.raises(ModelError, match="the module is not at level 'tile'(.|\n)*  - 'acme.double'"):
        check_level(module, "tile")
