"""Recurrent layers as loops, at every level of both targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, f16, f32, f64, i32
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.testing.every_level import check_every_level

STEPS, ROWS, HIDDEN = 4, 3, 5
RTOL = {f16: 2e-3, f32: 1e-5, f64: 1e-12}
LENGTHS = np.array([4, 0, 2], np.int32)


class Drawn:
    """Operands of a layer and their arrays."""

    def __init__(self, element: Attribute) -> None:
        self.element, self.random = element, np.random.default_rng(0)
        self.arrays: list[Any] = []

    def value(self, *shape: int) -> SSAValue:
        self.arrays.append(self.random.normal(size=shape).astype(numpy_dtype(self.element)))
        return create_ssa_value(TensorType(self.element, shape))

    def lengths(self) -> SSAValue:
        self.arrays.append(LENGTHS)
        return create_ssa_value(TensorType(i32, [ROWS]))


SLOW = pytest.mark.slow
ACTIVATIONS = ["affine", "elu", "hard_sigmoid", "leaky_relu", "relu", "scaled_tanh", "sigmoid", "softplus", "softsign", "tanh", "thresholded_relu"]  # fmt: skip


@pytest.mark.parametrize("name", [*(pytest.param(name, marks=SLOW) for name in ACTIVATIONS if name != "elu"), "elu"])
def test_rnn(name: str) -> None:
    drawn = Drawn(f32)
    operands = [
        drawn.value(STEPS, ROWS, HIDDEN),
        drawn.value(HIDDEN, HIDDEN),
        drawn.value(HIDDEN),
        drawn.value(ROWS, HIDDEN),
    ]
    op = graph.RnnOp(*operands, activations=[name], alphas=[0.3], betas=[0.7], clip=1.5)
    check_every_level(op, *drawn.arrays, rtol=RTOL[f32])


@pytest.mark.parametrize(
    ("linear", "element"), [(False, f32), pytest.param(True, f32, marks=SLOW), pytest.param(True, f64, marks=SLOW)]
)
def test_gru(linear: bool, element: Any) -> None:
    drawn = Drawn(element)
    shapes = (STEPS, ROWS, 3 * HIDDEN), (3 * HIDDEN, HIDDEN), (3 * HIDDEN,), (ROWS, HIDDEN)
    gates, weights, bias, h = (drawn.value(*shape) for shape in shapes)
    op = graph.GruOp(gates, weights, bias, h, drawn.lengths(), reverse=True, linear_before_reset=linear)
    check_every_level(op, *drawn.arrays, rtol=RTOL[element])


@pytest.mark.parametrize(
    ("element", "full", "coupled"),
    [(f16, True, False), pytest.param(f32, True, True, marks=SLOW), pytest.param(f64, False, False, marks=SLOW)],
)
def test_lstm(element: Any, full: bool, coupled: bool) -> None:
    drawn, width = Drawn(element), 2 if full else HIDDEN
    shapes = (STEPS, ROWS, 4 * HIDDEN), (4 * HIDDEN, width), (4 * HIDDEN,), (ROWS, width), (ROWS, HIDDEN)
    operands = [drawn.value(*shape) for shape in shapes]
    extra = [drawn.lengths(), drawn.value(3 * HIDDEN), drawn.value(width, HIDDEN)] if full else []
    op = graph.LstmOp(*operands, *extra, input_forget=coupled)
    check_every_level(op, *drawn.arrays, rtol=RTOL[element])


@pytest.mark.parametrize("shape", [(0, 2, 3), pytest.param((1, 1, 1), marks=SLOW), pytest.param((2, 0, 3), marks=SLOW)])
def test_extents(shape: tuple[int, int, int]) -> None:
    _, rows, hidden = shape
    drawn = Drawn(f32)
    operands = [drawn.value(*each) for each in (shape, (hidden, hidden), (hidden,), (rows, hidden))]
    check_every_level(graph.RnnOp(*operands), *drawn.arrays, rtol=RTOL[f32])
