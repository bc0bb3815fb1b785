"""A launch begins when the one before is done, however long a piece of that takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stepwell.codegen.cpu_runtime import runtime_text
from stepwell.runtime.cpu_pool import Pool
from stepwell.runtime.elf import Image

KERNELS = """
target triple = "x86_64-pc-linux-gnu"
; write(slots = {word, cycles}): after so many cycles, one more in the word
define void @write(ptr %slots, i64 %first, i64 %last) {
entry:
  %word = load ptr, ptr %slots
  %cycles_at = getelementptr i64, ptr %slots, i64 1
  %cycles = load i64, ptr %cycles_at
  %begin = call i64 @llvm.readcyclecounter()
  br label %wait
wait:
  %now = call i64 @llvm.readcyclecounter()
  %spent = sub i64 %now, %begin
  %more = icmp ult i64 %spent, %cycles
  br i1 %more, label %wait, label %store
store:
  %old = load atomic i64, ptr %word monotonic, align 8
  %new = add i64 %old, 1
  store atomic i64 %new, ptr %word monotonic, align 8
  ret void
}
; read(slots = {word, y}): the word into y[first] .. y[last - 1]
define void @read(ptr %slots, i64 %first, i64 %last) {
entry:
  %word = load ptr, ptr %slots
  %y_at = getelementptr i64, ptr %slots, i64 1
  %y = load ptr, ptr %y_at
  br label %loop
loop:
  %i = phi i64 [ %first, %entry ], [ %next, %loop ]
  %to = getelementptr i64, ptr %y, i64 %i
  %value = load atomic i64, ptr %word monotonic, align 8
  store i64 %value, ptr %to
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %last
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


@pytest.mark.parametrize("threads", [2, 3])
def test_a_launch_waits_for_the_one_before(compile_object: Callable[..., bytes], threads: int) -> None:
    """Whoever has nothing to do meanwhile does not go on: readers see what half a millisecond of work wrote, in every run."""
    image = Image(compile_object(KERNELS + runtime_text(["write", "read"])))
    word, found = np.zeros(1, np.int64), np.zeros(8, np.int64)
    write = np.array([word.ctypes.data, 1_000_000], np.int64)
    read = np.array([word.ctypes.data, found.ctypes.data], np.int64)
    rows = [(0, write.ctypes.data, 1, 1), (1, read.ctypes.data, 9, 1)]
    pool = Pool(image, np.array(rows, np.int64), threads)
    pool.install(1, ())
    for run in range(1, 201):
        assert pool.run(1, 0, 2)
        assert found.tolist() == [run] * 8
    pool.close()
