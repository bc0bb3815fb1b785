"""The CPU backend: records, tables, threads, what users may pass, what this machine must have."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.runtime import Engine, Plan, PlanError, UsageError
from stepwell.runtime.arguments import fill_rows, table_addresses
from stepwell.runtime.cpu_host import LEVEL_FLAGS, LEVELS, check_host, host_flags, host_level
from stepwell.runtime.program import Place, Table, Window
from stepwell.runtime.program_reader import read_program

X = np.arange(32, dtype=np.float32).reshape(4, 8)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_runs_with_any_number_of_threads(make_plan: Callable[..., Plan], threads: int) -> None:
    with Engine(make_plan(), threads=threads) as engine:
        for turn in range(20):
            outputs = engine.run({"x": X + turn})
            np.testing.assert_array_equal(outputs["y"], 4 * (X + turn))
            np.testing.assert_array_equal(outputs["z"], outputs["y"])
            np.testing.assert_array_equal(outputs["w"].ravel(), 2 * np.arange(32))


def test_engine_describes_itself(make_plan: Callable[..., Plan]) -> None:
    engine = Engine(make_plan())
    assert [(b.index, b.name, b.is_input, b.dtype, b.shape, b.bytes) for b in engine.bindings][:2] == [
        (0, "x", True, "f32", (4, 8), 128),
        (1, "y", False, "f32", (4, 8), 128),
    ]
    assert engine.memory == {"slices": 256, "arena": 256, "constants": 256, "tables": 0}
    assert engine.choice == "section cpu on cpu (x86-64-v2)"
    with pytest.raises(UsageError, match="there is no profile 1"):
        engine.create_context(profile=1)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r'input "x" \(float32\[4, 8\]\) is missing'),
        ({"x": X.astype(np.float64)}, r'input "x" \(float32\[4, 8\]\) got elements of type float64'),
        ({"x": X.astype(">f4")}, r'input "x" \(float32\[4, 8\]\) got elements of type >f4'),
        ({"x": X.astype(np.int32)}, r'input "x" \(float32\[4, 8\]\) got elements of type int32'),
        ({"x": X[:3]}, r'input "x" \(float32\[4, 8\]\) got shape \[3, 8\]'),
        ({"x": X, "extra": X}, 'there is no binding "extra"'),
        ({"x": X, "y": X}, '"y" is an output'),
    ],
)
def test_wrong_inputs_name_the_binding(make_plan: Callable[..., Plan], inputs: dict[str, Any], message: str) -> None:
    with Engine(make_plan(), threads=1) as engine:
        with pytest.raises(UsageError, match=message):
            engine.run(inputs)
        np.testing.assert_array_equal(engine.run({"x": X})["y"], 4 * X)


def test_inputs_may_be_lists_or_dlpack(make_plan: Callable[..., Plan]) -> None:
    class Exported:
        def __dlpack__(self, **options: Any) -> Any:
            return X.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return X.__dlpack_device__()

    with Engine(make_plan(), threads=1) as engine:
        np.testing.assert_array_equal(engine.run({"x": Exported()})["y"], 4 * X)
        with pytest.raises(UsageError, match="float64"):
            engine.run({"x": X.astype(np.float64).tolist()})


def test_bound_memory_is_used_in_place(make_plan: Callable[..., Plan]) -> None:
    context = Engine(make_plan()).create_context(threads=2)
    source, result = X.copy(), np.zeros_like(X)
    context.bind("x", source)
    context.bind("y", result)
    context.enqueue()
    np.testing.assert_array_equal(result, 4 * X)
    source += 1
    outputs = context.run()
    assert outputs["y"] is result
    np.testing.assert_array_equal(outputs["z"], 4 * (X + 1))
    with pytest.raises(UsageError, match='"x" is bound'):
        context.run({"x": X})
    with pytest.raises(UsageError, match="not contiguous"):
        context.bind("x", np.zeros((8, 4), np.float32).T)
    with pytest.raises(UsageError, match="elements of type >f4"):
        context.bind("x", X.astype(">f4"))
    with pytest.raises(UsageError, match="not aligned"):
        context.bind("x", unaligned(X))
    frozen = np.zeros_like(X)
    frozen.flags.writeable = False
    with pytest.raises(UsageError, match="not writable"):
        context.bind("y", frozen)


def unaligned(array: np.ndarray) -> np.ndarray:
    """The same values at an odd address."""
    memory = np.zeros(array.nbytes + 64, np.uint8)
    shift = 1 - memory.ctypes.data % 2
    view = memory[shift : shift + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def test_inputs_of_any_layout_are_copied_in(make_plan: Callable[..., Plan]) -> None:
    """Strided, reversed, read-only, misaligned, in another order of axes, one value for all: the values count."""
    frozen = X.copy()
    frozen.flags.writeable = False
    wide = np.arange(128, dtype=np.float32).reshape(8, 16)
    layouts = (
        frozen,
        unaligned(X),
        X[::-1, ::-1],
        wide[::2, 1::2],
        np.asfortranarray(X),
        np.broadcast_to(X[1], (4, 8)),
    )
    with Engine(make_plan(), threads=2) as engine:
        for x in layouts:
            np.testing.assert_array_equal(engine.run({"x": x})["y"], 4 * x)
    assert not frozen.flags.writeable


def test_a_bound_input_may_be_read_only(make_plan: Callable[..., Plan]) -> None:
    context, frozen = Engine(make_plan()).create_context(threads=2), X.copy()
    frozen.flags.writeable = False
    context.bind("x", frozen)
    np.testing.assert_array_equal(context.run()["y"], 4 * X)
    context.close()


def test_one_context_one_thread(make_plan: Callable[..., Plan]) -> None:
    engine = Engine(make_plan(), threads=1)
    contexts = [engine.create_context() for _ in range(3)]
    failures: list[str] = []

    def work(number: int) -> None:
        for turn in range(50):
            if not np.array_equal(contexts[number].run({"x": X + number + turn})["y"], 4 * (X + number + turn)):
                failures.append(f"{number}: {turn}")

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
    contexts[0].close()
    with pytest.raises(UsageError, match="closed"):
        contexts[0].run({"x": X})


def test_profile_and_measure(make_plan: Callable[..., Plan]) -> None:
    with Engine(make_plan(), threads=2) as engine:
        profile = engine.profile({"x": X}, repeat=3)
        assert [name for name, _ in profile] == ["first", "second", "third"]
        assert all(seconds > 0 for _, seconds in profile)
    context = Engine(make_plan()).create_context(threads=2)
    assert len(context.measure(4)) == 4


# --- windows

extents = st.integers(1, 5)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    spatial = draw(st.integers(1, 2))
    kernel, strides, dilations = (tuple(draw(st.integers(1, 3)) for _ in range(spatial)) for _ in range(3))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(2 * spatial))
    reach = [dilations[d] * (kernel[d] - 1) + 1 - pads[d] - pads[spatial + d] for d in range(spatial)]
    image = tuple(max(1, reach[d]) + draw(st.integers(0, 3)) for d in range(spatial))
    shape = (draw(extents), *image, draw(extents))
    fill = draw(st.sampled_from([0.0, -math.inf, 1.5]))
    return Window(Place("binding", 0, 0), "f32", shape, kernel, strides, pads, dilations, fill)


def reference(window: Window, image: np.ndarray) -> np.ndarray:
    """The view [M, T, C], element by element."""
    spatial = len(window.kernel)
    widths = [(0, 0), *((window.pads[d], window.pads[spatial + d]) for d in range(spatial)), (0, 0)]
    padded = np.pad(image, widths, constant_values=window.fill)
    rows = []
    for n in range(window.shape[0]):
        for pixel in np.ndindex(*window.output()):
            for tap in np.ndindex(*window.kernel):
                at = tuple(pixel[d] * window.strides[d] + tap[d] * window.dilations[d] for d in range(spatial))
                rows.append(padded[(n, *at)])
    return np.array(rows).reshape(-1, math.prod(window.kernel), window.shape[-1])


@given(windows(), st.integers(1, 7), st.integers(1, 3))
def test_pointer_tables_are_the_window(native_object: bytes, window: Window, rows: int, threads: int) -> None:
    """The gather kernel reads every row through its address."""
    pixels, taps, channels = window.shape[0] * math.prod(window.output()), math.prod(window.kernel), window.shape[-1]
    blocks = -(-pixels // rows)
    program = {
        "schema": 2, "target": "cpu", "level": "x86-64-v2", "module_hash": "", "arena": 0, "constants": 0,
        "bindings": [
            {"name": "x", "direction": "input", "dtype": "f32", "shape": list(window.shape)},
            {"name": "y", "direction": "output", "dtype": "f32", "shape": [blocks, taps, rows, channels]},
        ],
        "windows": [{
            "place": {"space": "binding", "offset": 0, "binding": 0}, "dtype": "f32", "shape": list(window.shape),
            "kernel": list(window.kernel), "strides": list(window.strides), "pads": list(window.pads),
            "dilations": list(window.dilations), "fill": repr(window.fill),
        }],
        "tables": [{"window": 0, "rows": rows}], "tensor_maps": [], "kernels": ["double", "gather"],
        "launches": [{
            "kernel": 1, "tiles": blocks * taps * rows, "grain": 1, "names": [], "arguments": [
                {"kind": "table", "index": 0},
                {"kind": "pointer", "place": {"space": "binding", "offset": 0, "binding": 1}},
                {"kind": "i64", "value": channels}, {"kind": "f32", "value": 0.5},
            ],
        }],
        "copies": [], "memory": {},
    }  # fmt: skip
    from stepwell.runtime.plan_file import Section

    plan = Plan((Section("cpu", "cpu", "x86-64-v2", program, "", {"o": native_object}, b""),))
    image = np.random.default_rng(0).integers(-8, 8, window.shape).astype(np.float32)
    with Engine(plan, threads=threads) as engine:
        assert engine.memory["tables"] == 8 * blocks * rows * taps
        found = engine.run({"x": image})["y"].transpose(0, 2, 1, 3).reshape(blocks * rows, taps, channels)
    np.testing.assert_array_equal(found[:pixels], 0.5 * reference(window, image))
    np.testing.assert_array_equal(found[pixels:], np.float32(0.5 * window.fill))


def test_tables_of_dense_rows() -> None:
    table = Table(4, None, Place("arena", 512), "f32", (6, 2, 3))
    addresses = table_addresses(table, lambda place: 1000 + place.offset, 7)
    assert addresses.shape == (2, 2, 4)
    np.testing.assert_array_equal(addresses[0, 1], 1512 + 12 * (2 * np.arange(4) + 1))
    np.testing.assert_array_equal(addresses[1, 0], [1512 + 12 * 8, 1512 + 12 * 10, 7, 7])


@pytest.mark.parametrize("value", [-1, 2**64 - 1, 2**63, -(2**63), 0x92492493])
def test_slots_hold_numbers_bit_by_bit(make_plan: Callable[..., Plan], program: dict[str, Any], value: int) -> None:
    """Also those that are written without a sign."""
    program["launches"][0]["arguments"].append({"kind": "i64", "value": value})
    context = Engine(make_plan(program)).create_context(threads=1)
    assert int(context._slots[2]) % 2**64 == value % 2**64  # type: ignore[attr-defined]
    context.close()


def test_fill_rows_are_shared(program: dict[str, Any]) -> None:
    window = {
        "place": {"space": "binding", "offset": 0, "binding": 0}, "dtype": "f32", "shape": [1, 2, 2, 8],
        "kernel": [1, 1],
        "strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1], "fill": "-inf",
    }  # fmt: skip
    program["windows"] = [window, {**window, "fill": "0.0"}, window]
    program["tables"] = [{"window": index, "rows": 2} for index in range(3)]
    contents, offsets = fill_rows(read_program(program))
    assert offsets[0] == offsets[2] != offsets[1]
    assert np.frombuffer(contents, np.float32)[:8].tolist() == [-math.inf] * 8


# --- this machine


def test_host_level_follows_the_flags() -> None:
    v3 = LEVEL_FLAGS["x86-64-v2"] | LEVEL_FLAGS["x86-64-v3"]
    assert host_level(v3) == "x86-64-v3"
    assert host_level(v3 | LEVEL_FLAGS["x86-64-v4"]) == "x86-64-v4"
    assert host_level(frozenset()) == ""
    check_host("x86-64-v3", v3)
    with pytest.raises(
        PlanError, match=r"the code needs x86-64-v4; this machine lacks avx512bw, .*\n  hint: compile for"
    ):
        check_host("x86-64-v4", v3)
    with pytest.raises(PlanError, match='"arm64", which this runtime does not know'):
        check_host("arm64", v3)
    assert host_level() in ("", *LEVELS)
    assert host_flags("/nowhere") == frozenset()


def test_a_section_for_another_machine_is_refused(make_plan: Callable[..., Plan], program: dict[str, Any]) -> None:
    program["level"] = "x86-64-v9"
    with pytest.raises(PlanError, match="no section fits this machine: cpu: .*x86-64-v9") as failure:
        Engine(make_plan(program))
    assert failure.value.exit_code == 4
    with pytest.raises(PlanError, match="there is no section for cuda\n  hint: the plan has: cpu"):
        Engine(make_plan(), target="cuda")


def test_kernel_tables_are_checked(make_plan: Callable[..., Plan], program: dict[str, Any]) -> None:
    program["kernels"] = ["gather", "double"]
    with pytest.raises(PlanError, match="the table of kernels does not hold @gather at 0"):
        Engine(make_plan(program))
    program["kernels"] = ["double", "gather", "more"]
    with pytest.raises(PlanError, match="fewer than 3 kernels"):
        Engine(make_plan(program))
