"""What a plugin may be, and what is refused, with words that say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import helper
from tests.frontends.plugins.examples import onnx_model
from xdsl.dialects.builtin import ArrayAttr, FloatAttr, IntegerAttr, StringAttr

import stepwell
from stepwell import Network
from stepwell.dialects.graph import CustomOp
from stepwell.dialects.graph import plugins as registry
from stepwell.dialects.numpy_types import ELEMENT_TYPE_NAMES, Array, element_type_named, numpy_dtype
from stepwell.dialects.weights import keep_weights
from stepwell.frontends.caffe import import_caffe
from stepwell.frontends.plugins import Plugin
from stepwell.runtime.errors import ModelError, StepwellError, UsageError


@pytest.fixture(autouse=True)
def own_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins of a test are gone after it."""
    monkeypatch.setattr(registry, "_PLUGINS", {})


def scaled(version: str = "1", **options: Any) -> Plugin:
    @stepwell.plugin("Scaled", version, "tests", **options)
    def shapes(x, *, by: float, times: int = 1, shift: tuple[float, ...] = (), label: str = "", flip: bool = False):  # type: ignore[no-untyped-def]
        return x

    @shapes.reference
    def run(x: Array, *, by: float, times: int, shift: Sequence[float], label: str, flip: bool) -> Array:
        made = x * np.asarray(by, x.dtype) ** times + np.asarray(sum(shift), x.dtype)
        return -made if flip else made

    return shapes


def one_op(plugin: Plugin, x: Array, **parameters: Any) -> CustomOp:
    network = Network("one")
    (y,) = network.add_plugin([network.add_input("x", x.shape, x.dtype)], plugin, parameters, name="op")
    network.mark_output(y)
    (op,) = [op for op in network.module().walk() if isinstance(op, CustomOp)]
    return op


def test_parameters_stand_in_the_module_with_their_defaults() -> None:
    op = one_op(scaled(), np.zeros(2, np.float32), by=2, shift=[1, 0.5], flip=np.True_)
    held = op.parameters.data
    assert list(held) == ["by", "times", "shift", "label", "flip"]
    assert isinstance(held["by"], FloatAttr) and held["by"].value.data == 2.0
    assert isinstance(held["times"], IntegerAttr) and isinstance(held["label"], StringAttr)
    assert isinstance(held["shift"], ArrayAttr) and len(held["shift"]) == 2
    text = str(op)
    assert "by = 2.000000e+00 : f64, times = 1 : i64, shift = [1.000000e+00 : f64, 5.000000e-01 : f64]" in text


@pytest.mark.parametrize("parameters, said", [
    ({}, "parameter 'by' is missing"),
    ({"by": 1.0, "beta": 2}, "there is no parameter 'beta': the plugin's are by, times, shift, label, flip"),
    ({"by": "two"}, "parameter 'by' is 'two': it must be of type float"),
    ({"by": 1.0, "times": 1.5}, "parameter 'times' is 1.5: it must be of type int"),
    ({"by": 1.0, "times": 2**63}, "integers have 64 bits"),
    ({"by": 1.0, "times": True}, "parameter 'times' is True: it must be of type int"),
    ({"by": 1.0, "shift": 2.0}, "parameter 'shift' is 2.0: it is a list of float"),
    ({"by": 1.0, "flip": 2}, "parameter 'flip' is 2: it must be of type bool"),
])  # fmt: skip
def test_parameters_that_do_not_fit_are_refused(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match="op \\(plugin\\)") as caught:
        one_op(scaled(), np.zeros(2, np.float32), **parameters)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ELEMENT_TYPE_NAMES)
def test_every_element_type_passes_unless_types_are_said(name: str) -> None:
    @stepwell.plugin("Same", namespace="tests")
    def same(x):  # type: ignore[no-untyped-def]
        return x

    same.reference(lambda x: x)
    dtype = numpy_dtype(element_type_named(name))
    for shape in ((), (0,), (1,), (3, 5)):
        array = np.ones(shape).astype(dtype)
        (found,) = same.run([array], {})
        assert found.dtype == dtype and found.shape == shape
    if name != "f32":
        with pytest.raises(ModelError, match=f"an input is {name}: it takes f32"):
            one_op(scaled(types=("f32",)), np.zeros(2, dtype), by=1.0)


def test_shapes_that_are_none_are_refused() -> None:
    @stepwell.plugin("Bad", namespace="tests")
    def bad(x, *, what: str):  # type: ignore[no-untyped-def]
        made = {
            "negative": x.like((-1,)), "text": "f32", "dtype": x.like(dtype="f31"), "float": x.like((1.5,)),
            "huge": x.like((2**62,)),
        }  # fmt: skip
        return made[what]

    for what, said in [
        ("negative", "result 0 has shape [-1]: extents are integers from 0"),
        ("float", "extents are integers"),
        ("huge", "extents are integers"),
        ("text", "its shape function gives 'f32' as result 0: give a TensorSpec"),
        ("dtype", "result 0 has dtype 'f31': use one of"),
        ("nothing", "KeyError: 'nothing'"),
    ]:
        with pytest.raises(ModelError) as caught:
            one_op(bad, np.zeros(2, np.float32), what=what)
        assert said in str(caught.value)


def test_a_reference_that_gives_something_else_is_refused() -> None:
    plugin = scaled()
    x = np.zeros(2, np.float32)
    held = plugin.parameters({"by": 1.0})
    for made, said in [
        (lambda x, **_: x[:, None], "gives float32[2, 1] as result 0"),
        (lambda x, **_: x.astype(np.float64), "gives float64[2] as result 0"),
        (lambda x, **_: (x, x), "the reference gives 2 results, the shape function 1"),
        (lambda x, **_: x.nothing, "AttributeError"),
        (lambda x: x, "TypeError"),
    ]:
        plugin.reference(made)
        with pytest.raises(ModelError) as caught:
            plugin.run([x], held)
        assert said in str(caught.value)


def test_a_plugin_without_a_meaning_says_what_lacks() -> None:
    @stepwell.plugin("Empty", namespace="tests")
    def empty(x):  # type: ignore[no-untyped-def]
        return x

    with pytest.raises(ModelError, match="decorate a function with .reference, .graph, .tile or .ptx"):
        empty.run([np.zeros(1, np.float32)], {})


def test_words_of_the_decorator_are_checked() -> None:
    def shapes(x):  # type: ignore[no-untyped-def]
        return x

    def strange(x, *, beta: complex = 1j):  # type: ignore[no-untyped-def]
        return x

    with pytest.raises(UsageError, match="'f31' is no element type"):
        stepwell.plugin("A", types=("f31",))
    with pytest.raises(UsageError, match="'f32' is no list"):
        stepwell.plugin("A", types="f32")
    with pytest.raises(UsageError, match="'torch' is no door"):
        stepwell.plugin("A", names={"torch": "a"})
    with pytest.raises(UsageError, match="needs a name"):
        stepwell.plugin("")
    with pytest.raises(UsageError, match="parameter 'beta' is annotated 'complex'"):
        stepwell.plugin("A")(strange)
    stepwell.plugin("A")(shapes)
    with pytest.raises(UsageError, match='two plugins are called "A"'):
        stepwell.plugin("A")(lambda x: x)


def test_the_same_lines_define_a_plugin_again() -> None:
    first, second = scaled(), scaled()
    assert registry.find_plugin("tests", "Scaled", "1") is second is not first


def node(op: str = "Scaled", domain: str = "tests", **attributes: Any) -> Any:
    return helper.make_node(op, ["x0"], ["y0"], name="op", domain=domain, **attributes)


X = np.arange(3, dtype=np.float32)


def imported(proto: Any) -> CustomOp:
    module = stepwell.import_model(onnx_model(proto, [X], [X], proto.domain))
    (op,) = [op for op in module.walk() if isinstance(op, CustomOp)]
    return op


def test_onnx_nodes_choose_version_and_namespace() -> None:
    for version in ("1", "2", "10"):
        scaled(version)
    assert imported(node(by=1.0)).version.data == "10"
    assert imported(node(by=1.0, plugin_version="2")).version.data == "2"
    assert imported(node(by=1.0, domain="", plugin_namespace="tests")).namespace.data == "tests"
    with pytest.raises(ModelError, match="loaded in version 1, 2, 10, version 3 is asked for"):
        imported(node(by=1.0, plugin_version="3"))
    with pytest.raises(ModelError, match="operators of domain 'elsewhere' are not supported"):
        imported(node(by=1.0, domain="elsewhere"))
    with pytest.raises(ModelError, match="'op' .*parameter 'by' is missing"):
        imported(node())


def test_a_name_of_a_door_stands_for_the_plugin() -> None:
    scaled(names={"onnx": "com.acme::Scale", "caffe": "AcmeScale"})
    assert imported(node("Scale", "com.acme", by=1.0)).plugin.data == "Scaled"
    text = b'input: "x" input_shape { dim: 3 } layer { name: "op" type: "AcmeScale" bottom: "x" top: "y" acme_scale_param { by: 3 shift: 1 shift: 2 flip: true } }'
    module = keep_weights(*import_caffe(text))
    np.testing.assert_array_equal(stepwell.interpret(module, {"x": X})["y"], -(3 * X + 3))
    with pytest.raises(ModelError, match="has no field 'beta'"):
        import_caffe(text.replace(b"by: 3", b"by: 3 beta: 1"))


def test_two_namespaces_of_one_bare_name_are_refused() -> None:
    scaled()

    @stepwell.plugin("Scaled", namespace="others")
    def other(x):  # type: ignore[no-untyped-def]
        return x

    text = b'input: "x" input_shape { dim: 3 } layer { name: "op" type: "Scaled" bottom: "x" top: "y" }'
    with pytest.raises(
        ModelError, match="'Scaled' may be any of plugin tests::Scaled, version 1, plugin others::Scaled"
    ):
        import_caffe(text)


def test_trained_blobs_follow_the_bottoms_of_a_caffe_layer() -> None:
    @stepwell.plugin("Weighted", namespace="tests")
    def weighted(x, w):  # type: ignore[no-untyped-def]
        return x

    weighted.reference(lambda x, w: x * w)
    text = b'input: "x" input_shape { dim: 3 } layer { name: "op" type: "Weighted" bottom: "x" top: "y" }'
    module = keep_weights(*import_caffe(text, blobs={"op": [2 * X]}))
    np.testing.assert_array_equal(stepwell.interpret(module, {"x": X})["y"], 2 * X * X)
    with pytest.raises(ModelError, match="takes 1 trained blobs after 1 bottoms"):
        import_caffe(text)


def test_compile_names_what_is_missing() -> None:
    network = Network("plain")
    (y,) = network.add_plugin([network.add_input("x", (3,))], scaled(), {"by": 2.0}, name="op")
    network.mark_output(y, "y")
    module = network.module()
    with pytest.raises(ModelError, match="says its meaning in NumPy only"):
        stepwell.compile_plan(module, target="cpu")
    registry._PLUGINS.clear()
    with pytest.raises(ModelError, match='plugin "Scaled" version 1 of "tests" is not loaded: import the module'):
        stepwell.compile_plan(module, target="cpu")
    with pytest.raises(ModelError, match='plugin "Scaled", version 1, is not loaded'):
        stepwell.interpret(module, {"x": X})


def test_a_plan_tells_its_plugins_and_needs_none() -> None:
    @stepwell.plugin("Twice", namespace="tests")
    def twice(x, *, note: str = "none"):  # type: ignore[no-untyped-def]
        return x

    twice.graph(lambda build, x, note: build.binary("add", x, x))
    network = Network("plan")
    (y,) = network.add_plugin([network.add_input("x", (3,))], twice, {"note": "hello"}, name="op")
    network.mark_output(y, "y")
    plan = stepwell.compile_plan(network, target="cpu")
    entry = {"node": "op", "plugin": "Twice", "version": "1", "namespace": "tests", "parameters": {"note": "hello"}}
    assert plan.details["plugins"] == [entry]
    registry._PLUGINS.clear()
    with stepwell.Engine(plan) as engine:
        np.testing.assert_array_equal(engine.run({"x": X})["y"], 2 * X)


def test_ops_that_do_not_end_or_fit_are_refused() -> None:
    @stepwell.plugin("Wrong", namespace="tests")
    def wrong(x):  # type: ignore[no-untyped-def]
        return x

    network = Network("wrong")
    (y,) = network.add_plugin([network.add_input("x", (3,))], wrong, name="op")
    network.mark_output(y, "y")
    for made, said in [
        (lambda build, x: build.reshape(x, (3, 1)), "its ops give a tensor<3x1xf32> as result 0, the op has a tensor<3xf32>"),
        (lambda build, x: (x, x), "its ops give 2 results, the op has 1"),
        (lambda build, x: 3.0, "its ops give 3.0: give values that the builder made"),
        (lambda build, x: build.emit(CustomOp("Wrong", [x], namespace="tests")), "16 levels deep"),
        (lambda build, x: x.nothing, "AttributeError"),
    ]:  # fmt: skip
        wrong.graph(made)
        with pytest.raises(StepwellError) as caught:
            stepwell.compile_plan(network, target="cpu")
        assert caught.value.exit_code == 3 and said in str(caught.value)
