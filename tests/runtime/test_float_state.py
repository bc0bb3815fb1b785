"""The floating-point state (MXCSR) in caller and workers: always the same inside a run, the caller's own after it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from stepwell.codegen.cpu_runtime import runtime_text
from stepwell.runtime.cpu_pool import Pool
from stepwell.runtime.elf import Image

KERNELS = """
target triple = "x86_64-pc-linux-gnu"
; meet(slots = {counter, states, threads}): wait until `threads` tiles have begun, then store the state of each
define void @meet(ptr %slots, i64 %first, i64 %last) {
  %counter = load ptr, ptr %slots
  %states_at = getelementptr i64, ptr %slots, i64 1
  %states = load ptr, ptr %states_at
  %threads_at = getelementptr i64, ptr %slots, i64 2
  %threads = load i64, ptr %threads_at
  %old = atomicrmw add ptr %counter, i64 1 seq_cst
  br label %wait
wait:
  call void @llvm.x86.sse2.pause()
  %here = load atomic i64, ptr %counter seq_cst, align 8
  %all = icmp uge i64 %here, %threads
  br i1 %all, label %store, label %wait
store:
  %own = getelementptr i32, ptr %states, i64 %first
  call void @llvm.x86.sse.stmxcsr(ptr %own)
  ret void
}
; scale(slots = {x, factors, y}): y[i] = x[i] * factors[i]
define void @scale(ptr %slots, i64 %first, i64 %last) {
  %x = load ptr, ptr %slots
  %f_at = getelementptr i64, ptr %slots, i64 1
  %f = load ptr, ptr %f_at
  %y_at = getelementptr i64, ptr %slots, i64 2
  %y = load ptr, ptr %y_at
  br label %loop
loop:
  %i = phi i64 [ %first, %0 ], [ %next, %loop ]
  %xi = getelementptr float, ptr %x, i64 %i
  %fi = getelementptr float, ptr %f, i64 %i
  %yi = getelementptr float, ptr %y, i64 %i
  %a = load float, ptr %xi
  %b = load float, ptr %fi
  %c = fmul float %a, %b
  store float %c, ptr %yi
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %last
  br i1 %more, label %loop, label %done
done:
  ret void
}
define void @state_get(ptr %word) {
  call void @llvm.x86.sse.stmxcsr(ptr %word)
  ret void
}
define void @state_set(ptr %word) {
  call void @llvm.x86.sse.ldmxcsr(ptr %word)
  ret void
}
"""
USUAL, UP, TO_ZERO, FLUSHING = 0x1F80, 0x5F80, 0x7F80, 0x9FC0
"""All exceptions masked: to nearest; upwards; towards zero; to nearest, denormals flushed (Intel SDM volume 1, 10.2.3)."""
FLAGS = 0x3F
"""What has happened so far: no mode."""


@pytest.fixture(scope="module")
def image(compile_object: Callable[..., bytes]) -> Image:
    return Image(compile_object(KERNELS + runtime_text(["meet", "scale"])))


class State:
    """The calling thread's MXCSR."""

    def __init__(self, image: Image) -> None:
        entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self._get, self._set = entry(image.address("state_get")), entry(image.address("state_set"))
        self._word = ctypes.c_uint32()

    def get(self) -> int:
        self._get(ctypes.addressof(self._word))
        return self._word.value

    def set(self, value: int) -> None:
        self._word.value = value
        self._set(ctypes.addressof(self._word))


@pytest.fixture
def state(image: Image) -> Iterator[State]:
    made = State(image)
    before = made.get()
    yield made
    made.set(before)


def run(image: Image, state: State, caller: int, kernel: int, tiles: int, *slots: int) -> int:
    """One run by two threads from this state of the caller's; the caller's state after it."""
    held = np.array([*slots, 0], np.int64)
    pool = Pool(image, np.array([[kernel, held.ctypes.data, tiles, 1]], np.int64), 2)
    pool.install(1, ())
    state.set(caller)
    assert pool.run(1, 0, 1)
    after = state.get()
    state.set(USUAL)
    pool.close()
    return after


@pytest.mark.parametrize("caller", [USUAL, UP, TO_ZERO, FLUSHING, USUAL | 0x21])
def test_two_threads_have_one_state_and_the_callers_stays(image: Image, state: State, caller: int) -> None:
    counter, states = np.zeros(1, np.int64), np.zeros(2, np.uint32)
    after = run(image, state, caller, 0, 2, counter.ctypes.data, states.ctypes.data, 2)
    assert after == caller
    assert [hex(word & ~FLAGS) for word in states.tolist()] == [hex(FLUSHING)] * 2


@pytest.mark.parametrize("caller", [USUAL, UP, TO_ZERO])
def test_results_do_not_depend_on_the_callers_mode(image: Image, state: State, caller: int) -> None:
    """Sums that rounding would show; denormals count as zero when they are read and when they are made."""
    x = np.array([1 + 2**-23, 2.0**-130, 2.0**-100, 2.0**-100, 2.0**-149], np.float32)
    factors = np.array([1 + 2**-22, 2.0**60, 2.0**-40, 2.0**-26, 2.0**120], np.float32)
    y = np.full(5, 7, np.float32)
    run(image, state, caller, 1, 5, x.ctypes.data, factors.ctypes.data, y.ctypes.data)
    assert y.tolist() == [1 + 2**-23 + 2**-22, 0.0, 0.0, 2.0**-126, 0.0]
