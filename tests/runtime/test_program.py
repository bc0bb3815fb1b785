"""Programs from JSON: whatever stands there, the result is a Program or a PlanError, and no address leaves its
memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.runtime import Engine, Plan
from stepwell.runtime.errors import PlanError
from stepwell.runtime.program_reader import read_program

Change = Callable[[dict[str, Any]], Any]


def put(path: str, value: Any) -> Change:
    """A change: the value at a dotted path becomes `value`."""

    def change(program: dict[str, Any]) -> None:
        *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        node: Any = program
        for key in way:
            node = node[key]
        node[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("schema", 1), "has schema 1, this runtime reads 2"),
        (put("arena", -1), "arena is not a number"),
        (put("arena", True), "arena is not a number"),
        (put("bindings.0.dtype", "f8"), "dtype is not f64 or"),
        (put("bindings.0.shape", [1 << 40, 1 << 40]), "a shape is too large"),
        (put("bindings.1.name", "x"), "two bindings have the same name"),
        (put("launches.0.kernel", 2), "kernel is not a number from 0 to 1"),
        (put("launches.0.tiles", None), "tiles is not a number"),
        (put("launches.0.grain", 0), "grain is not a number from 1"),
        (put("launches.0.arguments.0.place.offset", 129), "0 bytes at 129 lie outside of the 128 bytes of binding"),
        (put("launches.0.arguments.0.place.binding", 4), "binding is not a number from 0 to 3"),
        (put("launches.0.arguments.0", {"kind": "table", "index": 0}), "index is not a number"),
        (put("launches.0.arguments.0", {"kind": "i8", "value": 300}), "value is not a number"),
        (put("launches.0.arguments.0", {"kind": "f32", "value": "1"}), "value is not a number"),
        (put("copies.0.bytes", 129), "129 bytes at 0 lie outside"),
        (put("memory", []), "memory is not a report"),
        (put("launches", {}), "launches is not a list"),
    ],
)
def test_refusals(program: dict[str, Any], change: Change, message: str) -> None:
    change(program)
    with pytest.raises(PlanError, match=message) as failure:
        read_program(program)
    assert failure.value.exit_code == 4


def test_windows_and_tables(program: dict[str, Any]) -> None:
    window = {
        "place": {"space": "binding", "offset": 0, "binding": 0}, "dtype": "f32", "shape": [1, 2, 2, 8],
        "kernel": [3, 3],
        "strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "fill": "0.0",
    }  # fmt: skip
    program["windows"], program["tables"] = [window], [{"window": 0, "rows": 2}]
    assert read_program(program).tables[0].window is not None
    for key, value, message in [
        ("shape", [1, 2, 2, 9], "144 bytes at 0 lie outside of the 128"),
        ("shape", [4, 8], "not over"),
        ("fill", "nothing", "fill is not a number"),
        ("kernel", [9, 9], "has no output"),
        ("pads", [1, 1], "pads has 2 numbers"),
    ]:
        with pytest.raises(PlanError, match=message):
            read_program({**program, "windows": [{**window, key: value}]})


def test_tensor_maps(program: dict[str, Any]) -> None:
    spec = {
        "kind": "im2col", "place": {"space": "binding", "offset": 0, "binding": 0}, "dtype": "f32",
        "shape": [1, 2, 2, 8], "strides": [32, 16, 8, 1], "box": [64, 8], "element_strides": [1, 1, 1, 1],
        "lower": [-1, -1], "upper": [0, 0], "swizzle": 32, "l2": 128,
    }  # fmt: skip
    program["tensor_maps"] = [spec]
    assert read_program(program).tensor_maps[0].lower == (-1, -1)
    for key, value, message in [
        ("strides", [32, 16, 80, 1], "lie outside"),
        ("lower", [0], "lower has 1 numbers"),
        ("kind", "strided", "kind is not tiled or im2col"),
    ]:
        with pytest.raises(PlanError, match=message):
            read_program({**program, "tensor_maps": [{**spec, key: value}]})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(found for key, inner in items for found in paths(inner, (*at, key)))]


@given(st.data())
def test_hostile_values(make_plan: Callable[..., Plan], data: Any) -> None:
    """One value anywhere is replaced. What is accepted also loads and runs, or is refused by name."""
    program: Any = copy.deepcopy(dict(make_plan().sections[0].program))
    place = data.draw(st.sampled_from(paths(program)[1:]))
    node = program
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = data.draw(json_values | st.integers(-2, 300))
    try:
        read_program(program)
    except PlanError:
        pass


@given(json_values)
def test_any_json(value: Any) -> None:
    with pytest.raises(PlanError):
        read_program(value)


def test_what_reads_also_runs(make_plan: Callable[..., Plan], program: dict[str, Any]) -> None:
    """A program without launches is a program: outputs are what is copied into them."""
    program["launches"], program["tables"] = [], []
    program["copies"][0]["source"] = {"space": "constants", "offset": 4}
    with Engine(make_plan(program), threads=3) as engine:
        outputs = engine.run({"x": np.zeros((4, 8), np.float32)})
    assert outputs["z"].ravel().tolist() == list(range(1, 33))
