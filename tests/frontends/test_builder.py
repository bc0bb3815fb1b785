"""The builder of all frontends: constants are evaluated when asked for, small ones are folded at the end, what nothing uses goes."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, f32, i64
from xdsl.ir import Block

from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.builder import GraphBuilder, module_of
from stepwell.frontends.emitter import Unsupported, broadcast_shape, shape_of
from stepwell.passes import names_of


def _builder(*shape: int) -> GraphBuilder:
    build = GraphBuilder(Block(arg_types=[TensorType(f32, shape)]), WeightStore())
    build.node_name = "node"
    return build


def _floats(*values: float) -> Array:
    return np.asarray(values, np.float32)


def test_a_constant_is_evaluated_through_a_long_chain() -> None:
    build = _builder(2)
    value = build.weight("w", _floats(1, 2, 3))
    for _ in range(3000):
        value = build.unary("neg", value)
    assert np.array_equal(build.constant_array(value, "the shape"), _floats(1, 2, 3))
    assert build.integers(build.cast(value, i64), "axes") == (1, 2, 3)


def test_what_the_input_decides_is_no_constant() -> None:
    build = _builder(3)
    mixed = build.binary("add", build.weight("w", _floats(1, 2, 3)), build.block.args[0])
    assert build.array(mixed) is None
    with pytest.raises(Unsupported, match="the shape must be a constant"):
        build.constant_array(mixed, "the shape")


def test_finish_folds_and_erases() -> None:
    build = _builder(2, 3)
    twice = build.binary("mul", build.weight("w", _floats(1, 2, 3)), build.weight("two", np.asarray(2, np.float32)))
    build.unary("exp", build.block.args[0])
    result = build.binary("add", build.block.args[0], twice)
    (kept,) = build.finish([result])
    assert [op.name for op in build.block.ops] == ["graph.constant", "graph.broadcast", "graph.binary"]
    module = module_of(build.block, ["x"], [kept], ["y"])
    module.verify()
    x = np.ones((2, 3), np.float32)
    assert np.array_equal(interpret(module, {"x": x}, build.weights)["y"], x + _floats(2, 4, 6))
    assert all(names_of(op) for op in module.walk())


def test_finish_keeps_large_values_as_ops() -> None:
    build = _builder(2)
    large = build.unary("neg", build.weight("w", np.zeros(2000, np.float32)))
    (kept,) = build.finish([large])
    assert kept is large and shape_of(kept) == (2000,)


def test_a_result_that_is_a_constant_is_folded_too() -> None:
    build = _builder(2)
    (kept, argument) = build.finish(
        [build.unary("neg", build.weight("w", np.zeros(2, np.float32))), build.block.args[0]]
    )
    assert [op.name for op in build.block.ops] == ["graph.constant"] and kept.owner is build.block.first_op
    assert argument is build.block.args[0]


def test_broadcast_of_shapes_that_do_not_fit() -> None:
    build = _builder(2, 3)
    with pytest.raises(Unsupported, match=r"shapes \[2, 3\] and \[2\] do not broadcast"):
        build.binary("add", build.block.args[0], build.weight("w", np.zeros(2, np.float32)))


@pytest.mark.parametrize("shapes", [((2, 1), (3,)), ((), (0,)), ((1, 0), (5, 1)), ((4, 3), (4, 3), (1,)), ((), ())])
def test_shapes_broadcast_as_in_numpy(shapes: tuple[tuple[int, ...], ...]) -> None:
    assert broadcast_shape(*shapes) == np.broadcast_shapes(*shapes)


def test_shapes_of_any_size_broadcast() -> None:
    """NumPy's own function overflows."""
    assert broadcast_shape((1 << 62, 4), (1 << 62, 1)) == (1 << 62, 4)
    with pytest.raises(ValueError, match="do not broadcast"):
        broadcast_shape((1 << 62, 4), (1 << 62, 3))
