"""Layers of every element type and of scalars, and layers of plugins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest
from xdsl.dialects.builtin import IntegerAttr, TensorType
from xdsl.ir import Attribute

import stepwell
from stepwell import Network
from stepwell.dialects.graph.plugins import find_plugin, register_plugin
from stepwell.dialects.numpy_types import ELEMENT_TYPE_NAMES, Array, element_type_named, numpy_dtype
from stepwell.frontends.network import Tensor
from stepwell.runtime.errors import ModelError


@pytest.mark.parametrize("name", ELEMENT_TYPE_NAMES)
def test_every_element_type(name: str) -> None:
    dtype = numpy_dtype(element_type_named(name))
    values = np.array([[0, 1], [1, 0]]).astype(dtype)
    network = Network("types")
    x = network.add_input("x", (2, 2), name)
    assert (x.dtype, network.add_input("y", (), dtype).dtype) == (name, name)
    turned = network.add_shuffle(network.add_concatenation([x, network.add_constant(values)]), second_transpose=[1, 0])
    network.mark_output(turned, "out")
    found = stepwell.interpret(network.module(), {"x": values, "y": np.zeros((), dtype)})["out"]
    assert found.dtype == dtype
    assert found.tobytes() == np.concatenate([values, values], 1).T.tobytes()


@pytest.mark.parametrize("name", ["f16", "bf16", "f32", "f64"])
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_floats_of_every_width_and_batch(name: str, batch: int) -> None:
    dtype = numpy_dtype(element_type_named(name))
    network = Network("floats", max_batch_size=None)
    x = network.add_input("x", (batch, 2, 3, 3), name)
    y = network.add_convolution(x, 1, 3, np.ones((1, 2, 3, 3), dtype), [0.5])
    y = network.add_activation(network.add_fully_connected(y, 2, [[1.0], [-1.0]]), "LEAKY_RELU", alpha=0.5)
    network.mark_output(network.add_scale(y, "UNIFORM", 1.0, 2.0), "out")
    found = stepwell.interpret(network.module(), {"x": np.ones(x.shape, dtype)})["out"]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.astype(np.float64), np.tile([[38.0, -17.5]], (batch, 1)))


def test_a_scalar_goes_through_elementwise_layers() -> None:
    def through(network: Network, x: Tensor) -> Tensor:
        return network.add_activation(network.add_scale(network.add_unary(x, "neg"), "uniform", 1.0, 3.0), "relu")

    network = Network("scalar")
    network.mark_output(through(network, network.add_input("x", ())), "out")
    found = stepwell.interpret(network.module(), {"x": np.array(-2, np.float32)})["out"]
    assert (found.shape, found.tolist()) == ((), 7)


class _Repeated:
    """x repeated along dim 0, `times` times, and x itself."""

    namespace, name, version = "network-tests", "repeated", "1"

    def infer(self, operands: Sequence[Attribute], parameters: Mapping[str, Attribute]) -> Sequence[Attribute]:
        (x,), times = operands, cast(IntegerAttr[Any], parameters["times"]).value.data
        assert isinstance(x, TensorType)
        return [TensorType(x.element_type, [times * x.get_shape()[0], *x.get_shape()[1:]]), x]

    def run(self, arrays: Sequence[Array], parameters: Mapping[str, Attribute]) -> Sequence[Array]:
        return [np.concatenate([arrays[0]] * cast(IntegerAttr[Any], parameters["times"]).value.data), arrays[0]]


def test_a_plugins_op_is_a_layer() -> None:
    plugin = _Repeated()
    if find_plugin(plugin.namespace, plugin.name, plugin.version, missing_ok=True) is None:
        register_plugin(plugin)
    network = Network("plugins")
    x = network.add_input("x", (2, 3))
    first, second = network.add_plugin([x], "repeated", {"times": 2}, namespace="network-tests", name="twice")
    assert (first.name, first.shape, second.name, second.shape) == ("twice.0", (4, 3), "twice.1", (2, 3))
    network.mark_output(first, "out")
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = stepwell.interpret(network.module(), {"x": rows})["out"]
    np.testing.assert_array_equal(found, np.concatenate([rows, rows]))
    with pytest.raises(ModelError, match="import the module that defines it"):
        network.add_plugin([x], "absent")
    with pytest.raises(ModelError, match="parameter 'times' is a dict"):
        network.add_plugin([x], "repeated", {"times": {}}, namespace="network-tests")
