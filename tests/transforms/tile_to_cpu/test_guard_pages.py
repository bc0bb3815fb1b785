"""CPU kernels read and write nothing beyond their operands: arrays lie between pages that cannot be touched, against the one behind or the one
before. In a child process, so that touching one is a failure and not the end."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import stepwell
from stepwell.dialects import tile
from stepwell.dialects.tile.refs import Window
from stepwell.runtime.program import dtype_of
from stepwell.testing.cpu_kernels import map_text, narrow_text, pool_text, product_text
from stepwell.testing.native import Call, Native, compiled, panels
from stepwell.types.targets import CPU_LEVELS, supports

DIGITS = Path(__file__).resolve().parents[3] / "examples/digits/digits.onnx"
WIDTHS = (1, 3, 7, 8, 9, 15, 16, 17, 23, 24, 25, 33, 63, 64, 65)
LEVELS = [
    pytest.param(name, marks=pytest.mark.skipif(not supports(level), reason=f"this CPU is below {name}"))
    for name, level in CPU_LEVELS.items()
]


def guarded(array: np.ndarray, behind: bool) -> np.ndarray:
    """A copy that ends at a page without rights (`behind`), or begins after one."""
    page = mmap.PAGESIZE
    inner = -(-max(array.nbytes, 1) // page) * page
    memory = mmap.mmap(-1, inner + 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for fence in (base, base + page + inner):
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0) == 0
    offset = page + (inner - array.nbytes if behind else 0)
    made = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    made[...] = array
    return made


def move(native: Native, call: Call, shapes: Sequence[tuple[int, int]], behind: bool) -> list[np.ndarray]:
    """Let the record point at guarded copies of plain inputs and of the images of windows, and at guarded outputs, which are returned.
    Panels are constants of the plan, whole vectors at aligned addresses, and stay."""
    held, at = iter(call.keep), 0
    for ref in native.kernel.inputs:
        assert isinstance(ref.type, tile.RefType)
        first = next(held)
        if ref.type.access.kind == "window":
            _, table = next(held), next(held)
            image = guarded(first, behind)
            inside = (table >= first.ctypes.data) & (table < first.ctypes.data + first.nbytes)
            table[inside] += image.ctypes.data - first.ctypes.data
            call.keep.append(image)
        elif not ref.type.access.panel:
            call.keep.append(guarded(first, behind))
            call.record[at] = call.keep[-1].ctypes.data
        at += 1 + ref.type.rank + (ref.type.rank - 1 if ref.type.access.kind == "plain" else 0)
    outputs = []
    for shape, (memory, _, _) in zip(shapes, call.outputs, strict=True):
        outputs.append(guarded(np.zeros(shape, memory.dtype), behind))
        call.record[at] = outputs[-1].ctypes.data
        at += 4
    return outputs


Case = tuple[str, list[np.ndarray | Window], list[tuple[int, int]]]


def cases(level: str) -> Iterator[Case]:
    """Text, inputs and output shapes of every kind of kernel, at every width."""
    rng = np.random.default_rng(0)

    def some(*shape: int) -> np.ndarray:
        return rng.integers(-3, 4, shape).astype(np.float32)

    for n in WIDTHS:
        for k in (1, 5):
            w = panels(some(n, 9, k), CPU_LEVELS[level].block[1])
            window = Window(some(1, 3, 3, k), ((3, 3), (1, 1), (1,) * 4, (1, 1)), np.float32(0))
            yield product_text(level), [window, w, some(n), some(9, n)], [(9, n)]
            yield narrow_text(level), [window, some(9, k, n)], [(9, n)]
        w = panels(some(n, 1, 7), CPU_LEVELS[level].block[1])
        yield product_text(level, access="plain"), [some(5, 1, 7), w, some(n), some(5, n)], [(5, n)]
        image = Window(some(2, 3, 3, n), ((2, 2), (1, 1), (0,) * 4, (1, 1)), np.float32(-np.inf))
        yield pool_text(level), [image], [(8, n)]
        yield map_text(level), [some(5, n), some(n), some(5)], [(5, n), (5, n)]


def story(level: str) -> None:
    """Every case against both fences; what is printed last is what was running."""
    for number, (text, inputs, shapes) in enumerate(cases(level)):
        native = compiled(text)
        wanted = native.run(inputs, shapes)
        for behind in (True, False):
            print(number, native.kernel.sym_name.data, shapes, "behind" if behind else "before", flush=True)
            call = native.prepare(inputs, shapes)
            outputs = move(native, call, shapes, behind)
            for first, last in call.ranges:
                call.entry(call.record.ctypes.data, first, last)
            for found, expected in zip(outputs, wanted, strict=True):
                np.testing.assert_array_equal(found, expected)
    print("all", number + 1)


def story_of_a_network() -> None:
    """The digits network with bound inputs and outputs."""
    engine = stepwell.compile(DIGITS, target="cpu", shapes={"image": "3x1x8x8"})
    image = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    wanted = engine.create_context(threads=1).run({"image": image})
    for behind in (True, False):
        context = engine.create_context(threads=2)
        for binding in engine.bindings:
            value = image if binding.is_input else np.zeros(binding.shape, dtype_of(binding.dtype))
            context.bind(binding.name, guarded(value, behind))
        for name, found in context.run().items():
            np.testing.assert_array_equal(found, wanted[name])
        context.close()
    print("all 2")


def tell(call: str) -> str:
    """The last line of a story in a process of its own."""
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})"
    script = [sys.executable, "-c", f"{path}\nimport test_guard_pages as t; t.{call}"]
    done = subprocess.run(script, check=False, capture_output=True, text=True, timeout=300)
    last = done.stdout.strip().rpartition("\n")[2]
    assert done.returncode == 0, f"exit {done.returncode} at: {last}\n{done.stderr}"
    return last


@pytest.mark.parametrize("level", LEVELS)
def test_kernels_stay_inside_their_operands(level: str) -> None:
    assert tell(f"story({level!r})") == f"all {len(list(cases(level)))}"


def test_a_network_stays_inside_its_bindings() -> None:
    assert tell("story_of_a_network()") == "all 2"
