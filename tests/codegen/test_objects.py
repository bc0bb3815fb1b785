"""CPU objects and the native runtime in them: loaded by the ELF loader and run on several threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
from xdsl.parser import Parser

from stepwell.codegen import cpu_runtime
from stepwell.codegen.objects import (
    assembly_of,
    check_object,
    compile_module,
    compile_object,
    exported_symbols,
    relocation_kinds,
    undefined_symbols,
)
from stepwell.plugins.universe import make_context
from stepwell.runtime import cpu_pool
from stepwell.runtime.cpu_pool import Pool
from stepwell.runtime.elf import Image
from stepwell.runtime.errors import InternalError, UsageError
from stepwell.types.targets import CPU_LEVELS, supports

LEVEL = CPU_LEVELS["x86-64-v3"]
pytestmark = pytest.mark.skipif(not supports(LEVEL), reason="this CPU is below x86-64-v3")

# record slots: pointer to i64 counters, number to add. Adds to counters[first:last].
COUNT = """
llvm.func @count(%slots: !llvm.ptr, %first: i64, %last: i64) attributes {stepwell.kernel} {
  %base = llvm.load %slots : !llvm.ptr -> !llvm.ptr
  %at = llvm.getelementptr %slots[1] : (!llvm.ptr) -> !llvm.ptr, i64
  %step = llvm.load %at : !llvm.ptr -> i64
  %one = llvm.mlir.constant(1 : i64) : i64
  llvm.br ^head(%first : i64)
^head(%i: i64):
  %more = llvm.icmp "slt" %i, %last : i64
  llvm.cond_br %more, ^body, ^end
^body:
  %p = llvm.getelementptr %base[%i] : (!llvm.ptr, i64) -> !llvm.ptr, i64
  %old = llvm.load %p : !llvm.ptr -> i64
  %new = llvm.add %old, %step : i64
  llvm.store %new, %p : i64, !llvm.ptr
  %next = llvm.add %i, %one : i64
  llvm.br ^head(%next : i64)
^end:
  llvm.return
}
llvm.func @tiny(%slots: !llvm.ptr, %first: i64, %last: i64) attributes {stepwell.kernel} {
  %base = llvm.load %slots : !llvm.ptr -> !llvm.ptr
  %x = llvm.load %base : !llvm.ptr -> f32
  %c = llvm.mlir.constant(0.5 : f32) : f32
  %y = llvm.fmul %x, %c : f32
  llvm.store %y, %base : f32, !llvm.ptr
  llvm.return
}
"""


def module_of(text: str, attributes: str = 'stepwell.cpu = "x86-64-v3"'):  # type: ignore[no-untyped-def]
    return Parser(make_context(), f"builtin.module attributes {{{attributes}}} {{{text}}}").parse_module()


@pytest.fixture(scope="module")
def image() -> Image:
    made = compile_module(module_of(COUNT), LEVEL)
    assert made.kernels == ("count", "tiny") and made.level == "x86-64-v3"
    return Image(made.data)


class Program:
    """Records, threads and native entry points."""

    def __init__(self, image: Image, records: list[tuple[int, np.ndarray, int]], threads: int, grain: int = 1) -> None:
        self.keep = [slots for _, slots, _ in records]
        ends = np.cumsum([tiles for _, _, tiles in records], dtype=np.int64)
        rows = [(kernel, slots.ctypes.data, end, grain) for (kernel, slots, _), end in zip(records, ends, strict=True)]
        self.table = np.array(rows, np.int64).reshape(-1, cpu_runtime.RECORD_WORDS)
        self.pool = Pool(image, self.table, threads)
        self.pool.install(1, ())

    def run(self, first: int = 0, last: int | None = None) -> None:
        assert self.pool.run(1, first, len(self.table) if last is None else last)

    def stop(self) -> None:
        """Also joins the workers."""
        self.pool.close()


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("pause", [0.0, 0.002])
def test_every_tile_is_done_once_per_run(image: Image, threads: int, pause: float) -> None:
    """Also with more threads than processors, and after the workers have gone to sleep."""
    counters = np.zeros(37, np.int64)
    slots = [np.array([counters.ctypes.data, step], np.int64) for step in (1, 100)]
    program = Program(image, [(0, slots[0], 37), (0, slots[1], 37), (0, slots[0], 0), (0, slots[0], 1)], threads)
    runs = 40 if pause else 300
    for _ in range(runs):
        if pause:
            threading.Event().wait(pause)
        program.run()
    program.stop()
    expected = np.full(37, 101 * runs)
    expected[0] += runs
    np.testing.assert_array_equal(counters, expected)


def test_kernels_see_what_the_record_before_wrote(image: Image) -> None:
    """The same counters are counted up by whoever comes: without waiting for the record before, updates are lost."""
    counters = np.zeros(4, np.int64)
    slots = np.array([counters.ctypes.data, 1], np.int64)
    program = Program(image, [(0, slots, 2), (0, slots, 4)] * 50, 2)
    for _ in range(100):
        program.run()
    program.stop()
    assert list(counters) == [10000, 10000, 5000, 5000]


def test_a_worker_that_never_comes_delays_nobody(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three threads are announced, the caller is alone."""
    monkeypatch.setattr(cpu_pool, "_start", lambda entry, context, workers: len(workers))
    counters = np.zeros(37, np.int64)
    program = Program(image, [(0, np.array([counters.ctypes.data, 1], np.int64), 37)] * 3, 4)
    for _ in range(20):
        program.run()
    program.stop()
    assert set(counters) == {60}


@pytest.mark.parametrize("grain", [1, 3, 36, 37, 100])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_any_grain_and_any_part_of_the_records(image: Image, threads: int, grain: int) -> None:
    """Each tile of the records [first, last) once, nothing of the others."""
    counters = np.zeros((4, 37), np.int64)
    slots = [np.array([row.ctypes.data, 1], np.int64) for row in counters]
    program = Program(
        image, [(0, slot, tiles) for slot, tiles in zip(slots, (37, 5, 0, 20), strict=True)], threads, grain
    )
    expected = np.zeros_like(counters)
    for first, last in [(0, 4), (1, 2), (3, 4), (2, 2), (2, 3), (0, 1), (1, 4)] * 5:
        program.run(first, last)
        for row, tiles in list(enumerate((37, 5, 0, 20)))[first:last]:
            expected[row, :tiles] += 1
    program.stop()
    np.testing.assert_array_equal(counters, expected)


def test_workers_stop_without_a_run(image: Image) -> None:
    Program(image, [], 3).stop()


def test_denormals_are_flushed_and_the_callers_state_restored(image: Image) -> None:
    tiny = np.array([1e-38], np.float32)
    slots = np.array([tiny.ctypes.data], np.int64)
    Program(image, [(1, slots, 1)], 1).run()
    assert tiny[0] == 0.0
    assert np.float32(1e-38) * np.float32(0.5) != 0.0


def test_object_is_self_contained() -> None:
    data = compile_module(module_of(COUNT), LEVEL).data
    assert undefined_symbols(data) == ["memmove"] and relocation_kinds(data) <= {1, 2, 4}
    assert set(cpu_runtime.EXPORTS) <= set(exported_symbols(data))
    assert not [
        name for name in exported_symbols(data) if name.startswith("stepwell") and name not in cpu_runtime.EXPORTS
    ]


def test_same_bytes_in_another_process() -> None:
    """Another hash seed changes nothing."""
    script = f"""
import sys; sys.path.insert(0, {str(__file__).rpartition("/")[0]!r})
import hashlib, test_objects as t
print(hashlib.sha256(t.compile_module(t.module_of(t.COUNT), t.LEVEL).data).hexdigest())
"""
    runs = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_foreign_symbols_are_listed() -> None:
    text = 'target triple = "x86_64-unknown-linux-gnu"\ndeclare float @expf(float)\ndefine float @f(float %x) {\n  %y = call float @expf(float %x)\n  ret float %y\n}\n'
    with pytest.raises(InternalError, match="needs symbols that nobody provides: expf"):
        compile_object(text, LEVEL)


def test_memory_functions_are_allowed() -> None:
    text = """target triple = "x86_64-unknown-linux-gnu"
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define void @f(ptr %x, ptr %y, i64 %n) {
  call void @llvm.memcpy.p0.p0.i64(ptr %x, ptr %y, i64 %n, i1 false)
  ret void
}
"""
    data = compile_object(text, LEVEL)
    assert undefined_symbols(data) == ["memcpy"]
    check_object(data)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: compile_object("define void @f( {", LEVEL), InternalError, "LLVM refuses the module"),
        (
            lambda: compile_module(module_of("llvm.func @stepwell_run() { llvm.return }"), LEVEL),
            InternalError,
            "take the runtime's names",
        ),
        (lambda: assembly_of(module_of(COUNT, "")), UsageError, "states no CPU level"),
    ],
)
def test_refusals(act: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        act()


def test_assembly_can_be_read() -> None:
    assert "count:" in assembly_of(module_of(COUNT)) and "syscall" in assembly_of(module_of(COUNT))
