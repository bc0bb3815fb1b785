"""The plugins that ship as examples: through each door, in NumPy and in ops; Mish compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.frontends.plugins.examples import DOORS, example, results_of
from xdsl.dialects.builtin import f32

import stepwell
from stepwell.dialects import graph
from stepwell.dialects.graph import CustomOp
from stepwell.dialects.numpy_types import Array
from stepwell.driver.modules import weights_of
from stepwell.frontends.plugins import Plugin, TensorSpec
from stepwell.runtime.errors import ModelError

RANDOM = np.random.default_rng(0)


def _floats(*shape: int) -> Array:
    return RANDOM.random(shape, np.float32)


CASES: dict[str, tuple[str, list[Array], dict[str, Any]]] = {
    "Mish": ("mish.py", [8 * _floats(2, 37) - 4], {}),
    "MultiBoxDecoder": (
        "multibox.py",
        [_floats(2, 40) - 0.5, _floats(1, 2, 40)],
        {"code_type": "corner", "clip": True},
    ),
    "EfficientNMS": (
        "nms.py",
        [_floats(2, 30, 4), _floats(2, 30, 3)],
        {"iou_threshold": 0.375, "max_output_boxes": 9, "box_coding": 1},
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", CASES)
def test_every_door_gives_the_reference(name: str, door: str) -> None:
    file, arrays, parameters = CASES[name]
    plugin = example(file, name)
    module = DOORS[door](plugin, arrays, parameters)
    (op,) = [op for op in module.walk() if isinstance(op, CustomOp)]
    assert (op.plugin.data, op.version.data, op.namespace.data) == (name, "1", "examples")
    assert dict(op.parameters.data) == plugin.parameters(parameters)
    found = stepwell.interpret(module, {f"x{k}": array for k, array in enumerate(arrays)})
    for got, wanted in zip(found.values(), results_of(plugin, arrays, parameters), strict=True):
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_array_equal(got, wanted)


def _in_ops(
    plugin: Plugin, arrays: list[Array], parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> list[Array]:
    monkeypatch.setattr(plugin, "_reference", None)
    return results_of(plugin, arrays, parameters)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_mish_in_ops_is_mish_in_numpy(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    edges = [0, -0.0, np.inf, -np.inf, np.nan, 100, -100, 5, 20, -20, 1e-7]
    x = np.concatenate([5 * RANDOM.standard_normal(999), edges]).astype(dtype)
    mish = example("mish.py", "Mish")
    for array in (x, x[:1], x[:0], x[0].reshape(())):
        wanted = results_of(mish, [array], {})[0].astype(np.float64)
        with monkeypatch.context() as patched:
            found = _in_ops(mish, [array], {}, patched)[0].astype(np.float64)
        limits = {"float16": (4e-3, 1e-6), "float32": (1e-6, 1e-12), "float64": (1e-14, 1e-30)}[dtype]
        np.testing.assert_allclose(found, wanted, *limits)


@pytest.mark.parametrize("code_type", ["center_size", "corner"])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("count", [0, 1, 9])
def test_boxes_in_ops_are_boxes_in_numpy(
    code_type: str, clip: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, arrays = example("multibox.py", "MultiBoxDecoder"), [_floats(2, 4 * count), _floats(1, 2, 4 * count)]
    parameters = {"code_type": code_type, "clip": clip}
    wanted = results_of(plugin, arrays, parameters)
    np.testing.assert_allclose(_in_ops(plugin, arrays, parameters, monkeypatch)[0], wanted[0], 1e-5, 1e-6)


@pytest.mark.parametrize("most", [1, 4, 200])
@pytest.mark.parametrize("coding", [0, 1])
@pytest.mark.parametrize("images,boxes,classes", [(2, 40, 3), (1, 5, 1), (2, 0, 3), (0, 4, 2), (1, 6, 0)])
def test_suppression_in_ops_is_suppression_in_numpy(
    images: int, boxes: int, classes: int, coding: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = example("nms.py", "EfficientNMS")
    arrays = [_floats(images, boxes, 4), np.round(_floats(images, boxes, classes), 1)]
    parameters = {"max_output_boxes": most, "box_coding": coding, "iou_threshold": 0.3}
    wanted = results_of(plugin, arrays, parameters)
    found = _in_ops(plugin, arrays, parameters, monkeypatch)
    for got, expected in zip(found, wanted, strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, 1e-6)


@pytest.mark.parametrize("door", DOORS)
def test_mish_compiles_from_every_door(door: str) -> None:
    file, arrays, parameters = CASES["Mish"]
    plugin = example(file, "Mish")
    module = DOORS[door](plugin, arrays, parameters)
    with stepwell.compile(module, target="cpu") as engine:
        found = engine.run({"x0": arrays[0]})
    np.testing.assert_allclose(next(iter(found.values())), results_of(plugin, arrays, {})[0], 1e-5, 1e-6)
    assert weights_of(module) is not None


def test_suppression_is_compiled() -> None:
    file, arrays, parameters = CASES["EfficientNMS"]
    plugin = example(file, "EfficientNMS")
    with stepwell.compile(DOORS["network"](plugin, arrays, parameters), target="cpu") as engine:
        found = engine.run({f"x{place}": array for place, array in enumerate(arrays)})
    for got, wanted in zip(found.values(), results_of(plugin, arrays, parameters), strict=True):
        np.testing.assert_allclose(got, wanted, 1e-6)


def test_what_its_ops_need_and_no_lowering_has_is_refused_by_op() -> None:
    @stepwell.plugin("Distinct", namespace="tests", types=("f32",))
    def distinct(x: TensorSpec) -> TensorSpec:
        return x

    @distinct.graph
    def distinct_in_ops(build, x):  # type: ignore[no-untyped-def]
        values = build.emit_all(graph.UniqueOp(x, symbol="u"))[0]
        return build.emit(graph.FillTailOp(values, build.emit(graph.ConstantOp(0.0, f32)), dim=0))

    network = stepwell.Network("distinct")
    (y,) = network.add_plugin([network.add_input("x", (4,))], distinct, name="op")
    network.mark_output(y, "y")
    with pytest.raises(ModelError) as caught:
        stepwell.compile_plan(network, target="cpu")
    assert any("op (graph.unique" in reason for reason in caught.value.reasons)
