"""Values of constants keep their shape, scalars and empty ones too."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, TensorType, f32, i32

from stepwell.dialects.plan import BufferType, ConstantOp
from stepwell.dialects.plan.constants import constant_array
from stepwell.dialects.weights import WeightStore


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3), (0, 4)])
def test_a_weight_keeps_its_shape(shape: tuple[int, ...]) -> None:
    """NumPy makes arrays of rank 1 of scalars when it is asked for contiguous ones."""
    store = WeightStore()
    values = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    array = constant_array(ConstantOp(store.add("w", values), BufferType.of(shape, i32)), store)
    assert (array.shape, array.dtype) == (shape, np.dtype(np.int32))
    np.testing.assert_array_equal(array, values)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_a_literal_keeps_its_shape(shape: tuple[int, ...]) -> None:
    value = DenseIntOrFPElementsAttr.from_list(TensorType(f32, shape), [1.5])
    array = constant_array(ConstantOp(value, BufferType.of(shape, f32)))
    np.testing.assert_array_equal(array, np.full(shape, 1.5, np.float32), strict=True)
