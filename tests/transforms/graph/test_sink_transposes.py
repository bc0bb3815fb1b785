"""Transposes before an op move behind it, whatever its attributes say about dims, and the values stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.extents import shape_of as extents_of
from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.graph.shapes import inverse_permutation
from stepwell.driver.driver import passes_of
from stepwell.passes import location_of
from stepwell.testing.strategies import GeneratedGraph, op_modules
from stepwell.testing.strategies.network import close_network
from stepwell.transforms.graph._sink_transposes import SINKING

LAYOUTS = ("graph.lrn", "graph.resize")
"""Ops that know two orders of dims."""


@st.composite
def behind_transposes(draw: DrawFn, name: str) -> tuple[GeneratedGraph, int]:
    """The op behind transposes of its operands, by one permutation; and how many they are."""
    case = draw(op_modules(name))
    (op,) = [inner for inner in case.module.walk() if inner.name == name]
    count, _ = SINKING[type(op)]
    count = len(op.operands) if count < 0 else count
    rank = len(extents_of(op.operands[0].type))  # type: ignore[arg-type]
    permutation = draw(st.permutations(range(rank)))
    if name in LAYOUTS and op.layout == "channels_first":  # type: ignore[attr-defined]
        permutation = [0, rank - 1, *range(1, rank - 1)]
    elif name in LAYOUTS:
        permutation = [0, *range(2, rank), 1]
    block = Block()
    values: list[SSAValue] = []
    moved: list[Operation] = []
    for position, operand in enumerate(op.operands):
        held = operand.type
        assert isinstance(held, TensorType)
        if position < count:
            shape = [held.get_shape()[dim] for dim in inverse_permutation(tuple(permutation))]
            moved.append(
                graph.TransposeOp(block.insert_arg(TensorType(held.element_type, shape), position), permutation)
            )
            values.append(moved[-1].results[0])
        else:
            values.append(block.insert_arg(held, position))
    last = op.clone(dict(zip(op.operands, values, strict=True)))
    for position, made in enumerate([*moved, last]):
        made.location = location_of([f"n{position}"])
        block.add_op(made)
    return close_network(block, list(last.results)), count


def is_static(case: tuple[GeneratedGraph, int]) -> bool:
    types = [v.type for op in case[0].module.walk() for v in (*op.operands, *op.results)]
    return all(isinstance(type, TensorType) and type.has_static_shape() for type in types)


@pytest.mark.parametrize("name", sorted(op.name for op in SINKING))
def test_a_transpose_moves_behind_the_op(name: str) -> None:
    sunk = []

    @settings(max_examples=max(8, settings().max_examples // 2))
    @given(behind_transposes(name))
    def check(found: tuple[GeneratedGraph, int]) -> None:
        case, _ = found
        if not is_static(found):
            return
        inputs = case.inputs()
        expected = interpret(case.module, inputs, case.weights)
        module = case.module.clone()
        for step in passes_of("graph-cancel-transposes"):
            step.apply(case.context(), module)
        module.verify()
        (op,) = [inner for inner in module.walk() if inner.name == name]
        sunk.append(not any(isinstance(value.owner, graph.TransposeOp) for value in op.operands))
        assert sunk[-1] or name in ("graph.quantize", "graph.dequantize")
        for key, array in interpret(module, inputs, case.weights).items():
            tolerance = 1e-2 if array.dtype.itemsize < 4 else 1e-5
            np.testing.assert_allclose(
                array.astype(np.float64), expected[key].astype(np.float64), rtol=tolerance, atol=tolerance
            )

    check()
    assert any(sunk)
