"""The CUDA backend on a real device, with kernels written by hand in PTX: run it as a script, or through test_cuda.py.

Covers: module from PTX, constants, programmatic dependent launch in a captured graph, tiled and im2col tensor maps,
pointer tables, copies, bound device memory, enqueue on a stream, events, several contexts, refusals. Prints one line
per check.
"""

from __future__ import annotations

import ctypes
import math
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stepwell.runtime import Engine, Plan, PlanError, Section, UsageError, load, write_plan
from stepwell.runtime.cuda_driver import call, driver

KERNELS = ("scale", "im2col", "tile", "gather")
PTX = Path(__file__).with_name("hand_made.ptx").read_text()
X = np.arange(1000, dtype=np.float32)


def place(space: str, offset: int = 0, binding: int = -1) -> dict[str, Any]:
    return {"space": space, "offset": offset, **({"binding": binding} if space == "binding" else {})}


def pointer(space: str, offset: int = 0, binding: int = -1) -> dict[str, Any]:
    return {"kind": "pointer", "place": place(space, offset, binding)}


def value(kind: str, number: float) -> dict[str, Any]:
    return {"kind": kind, "value": number}


def binding(name: str, direction: str, shape: Sequence[int]) -> dict[str, Any]:
    return {"name": name, "direction": direction, "dtype": "f32", "shape": list(shape)}


def launch(kernel: str, arguments: list[Any], blocks: int, threads: int, shared: int = 0) -> dict[str, Any]:
    return {
        "kernel": KERNELS.index(kernel), "arguments": arguments, "names": [kernel], "grid": [blocks, 1, 1],
        "block": [threads, 1, 1], "shared": shared, "pdl": True,
    }  # fmt: skip


def plan_of(constants: np.ndarray | None = None, ptx: str = PTX, **parts: Any) -> Plan:
    """A plan with one sm_90 section around these parts of a program."""
    held = np.zeros(0, np.float32) if constants is None else constants
    program = {
        "schema": 2, "target": "sm_90", "level": "", "arena": 0, "constants": held.nbytes, "windows": [], "tables": [],
        "tensor_maps": [], "kernels": list(KERNELS), "launches": [], "copies": [], "memory": {}, **parts,
        "module_hash": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }  # fmt: skip
    return Plan((Section("sm_90", "sm_90", "", program, "", {"ptx": ptx.encode()}, held.tobytes()),))


def chain_plan() -> Plan:
    """x -> 2x -> 6x (y), a copy of y (z), and twice a constant (w)."""
    outputs = [binding(name, "output", [1000]) for name in ("y", "z", "w")]
    n = value("i32", 1000)
    return plan_of(
        X + 5,
        arena=4096,
        bindings=[binding("x", "input", [1000]), *outputs],
        launches=[
            launch("scale", [pointer("binding", binding=0), pointer("arena"), n, value("f32", 2)], 8, 128),
            launch("scale", [pointer("arena"), pointer("binding", binding=1), n, value("f32", 3)], 8, 128),
            launch("scale", [pointer("constants"), pointer("binding", binding=3), n, value("f32", 2)], 8, 128),
        ],
        copies=[{"source": place("binding", binding=1), "target": place("binding", binding=2), "bytes": 4000}],
    )


def check_chain() -> str:
    """A graph of dependent launches, from a saved file, many times and from several threads."""
    with tempfile.TemporaryDirectory() as folder:
        write_plan(chain_plan(), Path(folder) / "net.plan")
        with load(Path(folder) / "net.plan") as engine:
            for turn in range(50):
                outputs = engine.run({"x": X + turn})
                np.testing.assert_array_equal(outputs["y"], 6 * (X + turn))
                np.testing.assert_array_equal(outputs["z"], outputs["y"])
                np.testing.assert_array_equal(outputs["w"], 2 * (X + 5))
            failures: list[int] = []

            def work(number: int) -> None:
                failures.append(number)
                context = engine.create_context()
                for turn in range(20):
                    np.testing.assert_array_equal(context.run({"x": X + number * turn})["y"], 6 * (X + number * turn))
                context.close()
                failures.remove(number)  # not reached by a thread that raised

            workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            assert not failures
            profile = engine.profile({"x": X})
            assert [name for name, _ in profile] == ["scale"] * 3 and all(0 < t < 1e-2 for _, t in profile)
            return f"{engine.choice}; {1e6 * profile[0][1]:.1f} us per launch"


def check_bound_memory() -> str:
    """Device addresses and __cuda_array_interface__, enqueue on another stream, measuring."""
    engine = Engine(chain_plan())
    context = engine.create_context()
    context.run({"x": X})
    source, result = call("cuMemAlloc", 4000), call("cuMemAlloc", 4000)
    stream = call("cuStreamCreate", int(driver().CUstream_flags.CU_STREAM_NON_BLOCKING))
    host = np.zeros(1000, np.float32)

    class Array:
        def __init__(self) -> None:
            self.__cuda_array_interface__ = {
                "typestr": "<f4",
                "shape": (1000,),
                "data": (int(source), False),
                "version": 3,
            }

    context.bind("x", Array())
    context.bind("y", int(result))
    for turn in range(5):
        given = X * turn
        call("cuMemcpyHtoDAsync", source, given.ctypes.data, 4000, stream)
        context.enqueue(int(stream))
        call("cuMemcpyDtoHAsync", host.ctypes.data, result, 4000, stream)
        call("cuStreamSynchronize", stream)
        np.testing.assert_array_equal(host, 6 * given)
    assert set(context.run()) == {"z", "w"}
    times = context.measure(20)
    for wrong, message in ((X, "is bound to a ndarray"), (int(result) + 4, "not aligned")):
        try:
            context.bind("y", wrong)
        except UsageError as error:
            assert message in str(error), error
        else:
            raise AssertionError(message)
    device = engine.create_context()
    call("cuMemcpyHtoD", source, X.ctypes.data, 4000)
    np.testing.assert_array_equal(device.run({"x": Array()})["y"], 6 * X)
    for made in (context, device):
        made.close()
    for memory in (source, result):
        call("cuMemFree", memory)
    call("cuStreamDestroy", stream)
    engine.close()  # the device's context may go with it
    return f"graph of three launches and a copy: {1e6 * float(np.median(times)):.1f} us"


def window_rows(image: np.ndarray, kernel: int, stride: int, pad: int, dilation: int) -> np.ndarray:
    """[taps, pixels, C] by the definition of a window."""
    height, width, channels = image.shape[1:]
    padded = np.pad(image, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    out = [(extent + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1 for extent in (height, width)]
    taps = []
    for r, s in np.ndindex(kernel, kernel):
        rows = slice(r * dilation, r * dilation + stride * (out[0] - 1) + 1, stride)
        columns = slice(s * dilation, s * dilation + stride * (out[1] - 1) + 1, stride)
        taps.append(padded[:, rows, columns].reshape(-1, channels))
    return np.array(taps)


def check_im2col(kernel: int, stride: int, pad: int, dilation: int, shape: tuple[int, ...] = (2, 9, 7, 8)) -> str:
    """Every tap's column of pixels as the copy engine brings it, against the definition."""
    image = np.random.default_rng(0).integers(-9, 9, shape).astype(np.float32)
    expected = window_rows(image, kernel, stride, pad, dilation)
    taps, pixels, channels = expected.shape
    column = -(-pixels // 8) * 8
    corner = pad - dilation * (kernel - 1)
    strides = [math.prod(shape[axis + 1 :]) for axis in range(4)]
    spec = {
        "kind": "im2col", "place": place("binding", 0, 0), "dtype": "f32", "shape": list(shape), "strides": strides,
        "box": [column, channels], "element_strides": [1, stride, stride, 1], "lower": [-pad, -pad],
        "upper": [corner, corner], "swizzle": 0, "l2": 128,
    }  # fmt: skip
    numbers = [value("i32", n) for n in (kernel, dilation, -pad, -pad, column * channels)]
    arguments = [{"kind": "tensor_map", "index": 0}, pointer("binding", 0, 1), *numbers]
    plan = plan_of(
        bindings=[binding("x", "input", shape), binding("y", "output", [taps, column, channels])],
        tensor_maps=[spec],
        launches=[launch("im2col", arguments, taps, 128, column * channels * 4 + 64)],
    )
    with Engine(plan) as engine:
        found = engine.run({"x": image})["y"]
    np.testing.assert_array_equal(found[:, :pixels], expected)
    np.testing.assert_array_equal(found[:, pixels:], 0)
    return f"kernel {kernel}, stride {stride}, pad {pad}, dilation {dilation}: {taps} taps of {pixels} pixels"


def check_tiled() -> str:
    """A box across the edge of a strided matrix: rows as they lie, zeros outside; and the 128-byte swizzle."""
    matrix = np.random.default_rng(1).integers(-9, 9, (20, 64)).astype(np.float32)
    for swizzle in (0, 128):
        spec = {
            "kind": "tiled", "place": place("binding", 0, 0), "dtype": "f32", "shape": [20, 48], "strides": [64, 1],
            "box": [16, 32], "element_strides": [1, 1], "lower": [], "upper": [], "swizzle": swizzle, "l2": 256,
        }  # fmt: skip
        numbers = [value("i32", n) for n in (32, 8, 512)]
        arguments = [{"kind": "tensor_map", "index": 0}, pointer("binding", 0, 1), *numbers]
        plan = plan_of(
            bindings=[binding("x", "input", [20, 64]), binding("y", "output", [16, 32])],
            tensor_maps=[spec],
            launches=[launch("tile", arguments, 1, 128, 2048 + 64)],
        )
        with Engine(plan) as engine:
            found = engine.run({"x": matrix})["y"]
        expected = np.zeros((16, 32), np.float32)
        expected[:12, :16] = matrix[8:, 32:48]
        if swizzle:  # 16-byte units of row r are exchanged by r modulo 8
            units = expected.reshape(16, 8, 4)
            expected = np.array([units[r, np.arange(8) ^ (r % 8)] for r in range(16)]).reshape(16, 32)
        np.testing.assert_array_equal(found, expected)
    return "tiled: edge, row stride, swizzle 128"


def check_table() -> str:
    """A pointer table on the device, with padding rows at the fill value."""
    shape = (1, 4, 4, 8)
    image = np.random.default_rng(2).integers(-9, 9, shape).astype(np.float32)
    window = {
        "place": place("binding", 0, 0), "dtype": "f32", "shape": list(shape), "kernel": [3, 3], "strides": [1, 1],
        "pads": [1, 1, 1, 1], "dilations": [1, 1], "fill": "-inf",
    }  # fmt: skip
    arguments = [{"kind": "table", "index": 0}, pointer("binding", 0, 1), value("i32", 8)]
    plan = plan_of(
        bindings=[binding("x", "input", shape), binding("y", "output", [16, 9, 1, 8])],
        windows=[window],
        tables=[{"window": 0, "rows": 1}],
        launches=[launch("gather", arguments, 144, 32)],
    )
    with Engine(plan) as engine:
        found = engine.run({"x": image})["y"][:, :, 0]
    inside = window_rows(np.ones(shape, np.float32), 3, 1, 1, 1).transpose(1, 0, 2) != 0
    expected = np.where(inside, window_rows(image, 3, 1, 1, 1).transpose(1, 0, 2), -np.inf)
    np.testing.assert_array_equal(found, expected)
    return "pointer table with fill rows"


def check_refusals() -> str:
    """Damaged code says what the compiler says; a missing kernel is named; another architecture is refused."""
    for ptx, message in ((PTX.replace("griddepcontrol.wait;", "nonsense;"), "nonsense"), ("", "cuModuleLoadData")):
        try:
            Engine(plan_of(ptx=ptx, bindings=[]))
        except PlanError as error:
            assert message in str(error), error
        else:
            raise AssertionError(message)
    try:
        Engine(plan_of(kernels=["nothing"], bindings=[]))
    except PlanError as error:
        assert "the code has no kernel nothing" in str(error), error
    section = chain_plan().sections[0]
    other = Section(
        "sm_80a", "sm_80a", "", {**section.program, "target": "sm_80a"}, "", section.code, section.constants
    )
    try:
        Engine(Plan((other,)))
    except PlanError as error:
        assert "does not run sm_80a code" in str(error), error
    return "refusals"


def checks() -> list[tuple[str, Any]]:
    """Names and functions of all checks."""
    windows = [(3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 2, 2), (1, 1, 0, 1), (5, 2, 2, 1)]
    return [
        ("chain", check_chain),
        ("bound_memory", check_bound_memory),
        *((f"im2col_{k}{s}{p}{d}", lambda k=k, s=s, p=p, d=d: check_im2col(k, s, p, d)) for k, s, p, d in windows),
        ("tiled", check_tiled),
        ("table", check_table),
        ("refusals", check_refusals),
    ]


if __name__ == "__main__":
    assert ctypes.sizeof(ctypes.c_void_p) == 8
    for name, check in checks():
        print(f"{name}: {check()}", flush=True)
