"""Tensors may be called anything: text, plan, remarks and arrays carry the exact name; the SSA names of the text are legal and unique."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from stepwell.api.compile import compile as compile_model
from stepwell.driver.modules import read_mlir
from stepwell.driver.signature import signature_of
from stepwell.frontends.onnx import import_onnx
from stepwell.ir.printing import module_text
from stepwell.ir.source import SourceMap
from stepwell.ir.ssa_names import ssa_hint
from stepwell.runtime.errors import ModelError
from stepwell.testing.run_line import call

Make = Callable[..., onnx.ModelProto]
NAMES = [
    "12", "é", 'a"b', "a\nb", "a\\b", "a\tb", "x y", "%0", "日本", "a/b:0", "\u202e", "\x7f", "a" * 300, "🙂", "-", "_", "0_", "loc(",
    "x=y", "file", "allow_pickle", "x.npy", "..", "/abs", "_0", "_0_1", "a_1_2", "\ud7ff", "\\C3", "//", "^bb0", "@main", "main", "é_1",
]  # fmt: skip

HARD = ["12", "é", 'a"b', "a\nb", "x=y", "file", "x.npy", "_0", "-"]
"""Those that a command line, an archive or a text may stumble over."""


def network(make_model: Make, x: str, y: str, weight: str) -> onnx.ModelProto:
    """`y = relu(x + weight)`, whose nodes and tensor between are named alike."""
    nodes = [helper.make_node("Add", [x, weight], [f"{x}{y}"], x), helper.make_node("Relu", [f"{x}{y}"], [y], y)]
    return make_model(nodes, {x: [2, 3]}, [y], {weight: np.full((2, 3), -0.5, np.float32)})


@pytest.mark.parametrize("name", NAMES)
def test_every_name_survives_text(name: str, make_model: Make) -> None:
    module, weights = import_onnx(network(make_model, name, f"{name}'", f"{name}.w"))
    text = module_text(module)
    assert text.isascii()
    again = read_mlir(text, SourceMap("text"), Path())
    assert module_text(again.module) == text
    signature = signature_of(again.module)
    assert [port.name for port in (*signature.inputs, *signature.outputs)] == [name, f"{name}'"]
    assert list(weights) == [f"{name}.w"]
    again.module.clone().verify()


def test_every_name_survives_the_commands(make_model: Make, tmp_path: Path) -> None:
    """All at once: a network with an input and an output of each name, through text, plan, arrays and reports."""
    nodes = [helper.make_node("Neg", [name], [f"{name}'"], name) for name in HARD]
    model = make_model(nodes, {name: [2] for name in HARD}, [f"{name}'" for name in HARD])
    onnx.save(model, tmp_path / "net.onnx")
    module, plan, given, found = (str(tmp_path / file) for file in ("net.mlir", "net.plan", "in.npy", "out.npz"))
    assert call(["stepwell-opt", str(tmp_path / "net.onnx"), "--to", "kernel", "--arch", "cpu", "-o", module])[0] == 0
    code, _, said = call(["stepwell", "compile", module, "--target", "cpu", "-o", plan, "--remarks", "."])
    assert code == 0, said
    np.save(given, np.asarray([1, -2], np.float32))
    words = [f"--input={name}={given}" for name in HARD]
    code, printed, said = call(["stepwell", "run", plan, *words, "--output", found])
    assert code == 0, said
    assert printed.count("float32[2]") == len(HARD)
    alone = ("file", "x.npy")
    arrays: dict[str, Any] = {name: np.ones(2, np.float32) for name in HARD if name not in alone}
    np.savez(tmp_path / "all.npz", **arrays)
    rest = [word for word, name in zip(words, HARD, strict=True) if name in alone]
    code, _, said = call(["stepwell", "run", plan, "--input", str(tmp_path / "all.npz"), *rest])
    assert code == 0, said
    with np.load(found) as outputs:
        assert len(outputs.files) == len(HARD)
        for name in HARD:
            np.testing.assert_array_equal(outputs[f"{name}'"], np.asarray([-1, 2], np.float32))
    code, printed, _ = call(["stepwell", "inspect", plan])
    assert code == 0 and "é" in printed
    assert call(["stepwell", "inspect", plan, "--remarks"])[0] == 0
    assert call(["stepwell", "inspect", plan, "--json"])[0] == 0


def test_an_output_listed_twice_is_one(make_model: Make) -> None:
    model = make_model([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, ["y"])
    model.graph.output.append(model.graph.output[0])
    with compile_model(model, target="cpu") as engine:
        assert list(engine.run({"x": np.asarray([-1, 1], np.float32)})) == ["y"]


def test_an_output_that_is_an_input_is_refused(make_model: Make) -> None:
    model = make_model([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, ["y", "x"])
    with pytest.raises(ModelError, match="output 'x' is an input of the model: name it through an Identity"):
        import_onnx(model)


def test_an_output_that_is_an_input_by_another_name(make_model: Make) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["x"], ["z"])]
    with compile_model(make_model(nodes, {"x": [2]}, ["y", "z"]), target="cpu") as engine:
        value = np.asarray([-1, 1], np.float32)
        found: dict[str, Any] = engine.run({"x": value})
    np.testing.assert_array_equal(found["y"], value)
    np.testing.assert_array_equal(found["z"], value)


def test_no_two_hints_meet() -> None:
    """The second value with the hint `a` is printed as `a_1`: no hint may end so."""
    hints = [ssa_hint(name) for name in NAMES]
    assert all(hint is None or (hint.isascii() and hint.isidentifier()) for hint in hints)
    assert [ssa_hint(name) for name in ("a", "a_9", "a_1_2")] == ["a", "a", "a"]
