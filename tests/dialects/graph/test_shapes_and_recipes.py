"""Shape functions against counting, recipes: what a step infers is what it makes, and appended steps mean what they say one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from xdsl.dialects.builtin import TensorType, f16, f32
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import StepAttr, WeightAttr
from stepwell.dialects.graph.recipes import STEPS
from stepwell.dialects.graph.shapes import compose_permutations, inverse_permutation, window_extent
from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import WeightStore

SMALL = st.integers(0, 4)
POSITIVE = st.integers(1, 4)


@given(st.integers(1, 12), POSITIVE, POSITIVE, SMALL, SMALL, POSITIVE)
def test_window_extent_counts_positions(
    extent: int, kernel: int, stride: int, begin: int, end: int, dilation: int
) -> None:
    span = (kernel - 1) * dilation + 1
    starts = [s for s in range(-begin, extent + end, stride) if s + span <= extent + end]
    if not starts:
        with pytest.raises(VerifyException, match="does not fit"):
            window_extent(extent, kernel, stride, begin, end, dilation)
        return
    assert window_extent(extent, kernel, stride, begin, end, dilation) == len(starts)
    if end >= span:
        return
    rounded_up = window_extent(extent, kernel, stride, begin, end, dilation, ceil=True)
    more = starts[-1] + stride
    assert rounded_up == len(starts) + (more < extent and starts[-1] + span < extent + end)


@given(st.integers(0, 5).flatmap(lambda rank: st.tuples(*[st.permutations(range(rank))] * 2)))
def test_permutations(pair: tuple[list[int], list[int]]) -> None:
    first, second = pair
    array = np.arange(int(np.prod(range(2, 2 + len(first))))).reshape(range(2, 2 + len(first)))
    composed = array.transpose(compose_permutations(first, second))
    np.testing.assert_array_equal(composed, array.transpose(first).transpose(second))
    np.testing.assert_array_equal(array.transpose(first).transpose(inverse_permutation(first)), array)


def draw_step(data: DataObject, shape: tuple[int, ...]) -> StepAttr:
    """A legal step for an array of this shape, of any kind that it allows."""
    kinds = ["reshape", "transpose", "cast", "slice", "pad"] if shape else ["reshape", "cast"]
    panels = [p for p in range(1, shape[0] + 1) if shape[0] % p == 0] if len(shape) > 1 and shape[0] else []
    kind = data.draw(st.sampled_from([*kinds, "panels"] if panels else kinds))
    axis = data.draw(st.integers(0, max(0, len(shape) - 1)))
    match kind:
        case "reshape":
            return StepAttr(kind, data.draw(st.permutations(shape)))
        case "transpose":
            return StepAttr(kind, data.draw(st.permutations(range(len(shape)))))
        case "cast":
            return StepAttr(kind, [data.draw(st.sampled_from(["f16", "f32", "f64"]))])
        case "pad":
            return StepAttr(kind, [axis, shape[axis] + data.draw(st.integers(0, 3))])
        case "panels":
            return StepAttr(kind, [data.draw(st.sampled_from(panels))])
    begin = data.draw(st.integers(0, shape[axis]))
    return StepAttr("slice", [axis, begin, data.draw(st.integers(begin, shape[axis]))])


@given(st.data(), st.lists(st.integers(0, 4), max_size=4))
def test_recipes_make_what_they_infer(data: DataObject, shape: list[int]) -> None:
    array: Array = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape) / 8
    store = WeightStore()
    ref = store.add("w", array)
    for _ in range(data.draw(st.integers(0, 4))):
        step = draw_step(data, ref.result_type().get_shape())
        array = STEPS[step.kind.data].apply(array, step.values)
        ref = ref.then(step)
        type = ref.result_type()
        assert (array.shape, str(array.dtype)) == (type.get_shape(), f"float{str(type.element_type)[1:]}")
    made = store.evaluate(ref)
    assert made.flags.c_contiguous and made.dtype == array.dtype
    np.testing.assert_array_equal(made, array)


def weight(*steps: StepAttr) -> WeightAttr:
    return WeightAttr("w", "0" * 64, TensorType(f32, [2, 3, 4])).then(*steps)


def test_steps_that_change_nothing_vanish() -> None:
    assert not weight(StepAttr("transpose", [0, 1, 2]), StepAttr("reshape", [2, 3, 4]), StepAttr("cast", ["f32"])).steps
    assert not weight(StepAttr("pad", [1, 3]), StepAttr("transpose", [1, 2, 0]), StepAttr("transpose", [2, 0, 1])).steps
    assert not weight(StepAttr("reshape", [6, 4]), StepAttr("reshape", [2, 3, 4])).steps


def test_neighbours_merge() -> None:
    merged = weight(
        StepAttr("transpose", [1, 0, 2]),
        StepAttr("transpose", [2, 1, 0]),
        StepAttr("reshape", [24]),
        StepAttr("reshape", [4, 6]),
    )
    assert [(s.kind.data, s.values) for s in merged.steps] == [("transpose", (2, 0, 1)), ("reshape", (4, 6))]
    narrow = weight(StepAttr("cast", ["f16"]), StepAttr("cast", ["f32"]))
    assert [s.values for s in narrow.steps] == [("f16",), ("f32",)]
    assert weight(StepAttr("cast", ["f16"])).result_type() == TensorType(f16, [2, 3, 4])


def test_panels_put_rows_side_by_side() -> None:
    rows = np.arange(4 * 2 * 3, dtype=np.float32).reshape(4, 2, 3)
    packed = STEPS["panels"].apply(rows, [2])
    assert packed.shape == (2, 2, 3, 2)
    for n in range(4):
        np.testing.assert_array_equal(packed[n // 2, :, :, n % 2], rows[n])
