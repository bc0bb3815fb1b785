"""The ELF loader: relocations, page rights, refusals, hostile bytes."""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.runtime.elf import Image
from stepwell.runtime.errors import PlanError

TRIPLE = 'target triple = "x86_64-pc-linux-gnu"\n'
TEXT = (
    TRIPLE
    + r"""
@table = private unnamed_addr constant [4 x float] [float 1.0, float 2.0, float 3.0, float 4.0], align 16
@shared = global i64 40
@counter = internal global [1024 x i64] zeroinitializer
@functions = constant [2 x ptr] [ptr @entry, ptr @add]
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
define i64 @add(i64 %x) noinline {
  %s = load i64, ptr @shared
  %r = add i64 %s, %x
  store i64 %r, ptr getelementptr ([1024 x i64], ptr @counter, i64 0, i64 1000)
  ret i64 %r
}
define internal i64 @twice(i64 %x) noinline {
  %a = call i64 @add(i64 %x)
  %b = add i64 %a, %a
  ret i64 %b
}
define i64 @entry(ptr %in, ptr %out, i64 %n) {
  %bytes = mul i64 %n, 4
  call void @llvm.memset.p0.i64(ptr %out, i8 0, i64 %bytes, i1 false)
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %in, i64 %bytes, i1 false)
  %i = and i64 %n, 3
  %p = getelementptr [4 x float], ptr @table, i64 0, i64 %i
  %t = load float, ptr %p
  store float %t, ptr %out
  %r = call i64 @twice(i64 1)
  ret i64 %r
}
"""
)

CONSTRUCTOR = """define void @f() {
  ret void
}
@llvm.global_ctors = appending global [1 x {i32, ptr, ptr}] [{i32, ptr, ptr} {i32 1, ptr @f, ptr null}]
"""


@pytest.fixture(scope="module")
def data(compile_object: Callable[..., bytes]) -> bytes:
    """An object with every relocation that LLVM makes for PIC."""
    return compile_object(TEXT)


def test_code_runs(data: bytes) -> None:
    image = Image(data)
    entry = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(image.address("entry"))
    x, y = np.arange(6, dtype=np.float32), np.full(6, 7, np.float32)
    assert entry(x.ctypes.data, y.ctypes.data, 6) == 82
    assert y.tolist() == [3, 1, 2, 3, 4, 5]
    functions = (ctypes.c_int64 * 2).from_address(image.address("functions"))
    assert list(functions) == [image.address("entry"), image.address("add")]
    assert image.extent("functions") == 16 and image.extent("nothing") == 0
    assert "twice" in image and "nothing" not in image


def test_no_page_is_writable_and_executable(data: bytes) -> None:
    image = Image(data)
    rights = set()
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end, mode = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()  # type: ignore[union-attr]
        if int(begin, 16) < image.base + image.size and int(end, 16) > image.base:
            rights.add(mode[:3])
    assert rights == {"r-x", "r--", "rw-"}


@pytest.mark.parametrize(
    ("text", "relocation", "message"),
    [
        ("declare void @puts()\ndefine void @f() {\n call void @puts()\n ret void\n}", "pic", "needs puts, which"),
        ("@t = thread_local global i32 1\n", "pic", "has thread-local data"),
        (CONSTRUCTOR, "pic", "has constructors"),
        (
            "@x = dso_local global i32 1\ndefine ptr @f() {\n ret ptr @x\n}",
            "static",
            "does not reach what it refers to",
        ),
    ],
)
def test_refusals(compile_object: Callable[..., bytes], text: str, relocation: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Image(compile_object(TRIPLE + text, relocation))


def test_what_is_no_object(data: bytes) -> None:
    for wrong in (b"", b"MZ" + data[2:], data[:16] + b"\x02" + data[17:], data[:18] + b"\xb7" + data[19:]):
        with pytest.raises(PlanError, match="the native code is "):
            Image(wrong)
    with pytest.raises(PlanError, match="does not define nothing"):
        Image(data).address("nothing")


def test_a_relocation_over_the_end_of_its_section(data: bytes) -> None:
    """One that begins inside and ends outside would change the neighbour."""
    table, entry, count = (
        struct.unpack_from(layout, data, at)[0] for layout, at in (("<Q", 0x28), ("<H", 0x3A), ("<H", 0x3C))
    )
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + index * entry) for index in range(count)]
    changed = 0
    for header in headers:
        kind, place, size, target = header[1], header[4], header[5], header[7]
        if kind != 4 or not size or not headers[target][2] & 2:
            continue
        mutated = bytearray(data)
        struct.pack_into("<Q", mutated, place, headers[target][5] - 1)
        with pytest.raises(PlanError, match="relocates bytes outside of a section"):
            Image(bytes(mutated))
        changed += 1
    assert changed


def test_truncation_is_refused(data: bytes) -> None:
    """The section headers stand last, so every cut loses one."""
    for length in range(0, len(data) - 1, 7):
        with pytest.raises(PlanError):
            Image(data[:length])


@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8), st.booleans())
def test_hostile_bytes(data: bytes, changes: list[tuple[int, int]], headers: bool) -> None:
    """Loaded or refused, never anything else; half of the time the section headers are hit."""
    mutated = bytearray(data)
    table = int.from_bytes(data[0x28:0x30], "little")
    for position, value in changes:
        mutated[table + position % (len(data) - table) if headers else position % len(data)] = value
    try:
        Image(bytes(mutated))
    except PlanError:
        pass


def test_numbers_are_signed_as_their_kind_says(data: bytes) -> None:
    """R_X86_64_32S is sign-extended where it is used, R_X86_64_32 zero-extended: what does not survive that is refused."""
    image = Image(data)
    image._memory = bytearray(16)  # type: ignore[assignment]
    for kind, fits, not_fits in ((11, (-(1 << 31), (1 << 31) - 1), 1 << 31), (10, (0, (1 << 32) - 1), -1)):
        for value in fits:
            image._patch(4, kind, value)
            assert int.from_bytes(image._memory[4:8], "little", signed=kind == 11) == value
        with pytest.raises(PlanError, match="does not reach"):
            image._patch(4, kind, not_fits)


def test_symbols_of_one_name_in_two_sections(compile_object: Callable[..., bytes]) -> None:
    """Each has its own slot in the table of addresses."""
    text = """@twin_a = global i64 1
@twin_b = constant i64 2
define ptr @first() {
  ret ptr @twin_a
}
define ptr @second() {
  ret ptr @twin_b
}
"""
    image = Image(compile_object(TRIPLE + text).replace(b"twin_b\0", b"twin_a\0"))
    found = [ctypes.CFUNCTYPE(ctypes.c_void_p)(image.address(name))() for name in ("first", "second")]
    assert [ctypes.c_int64.from_address(address).value for address in found] == [1, 2]
