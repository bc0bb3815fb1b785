"""A small CPU plan made by hand: kernels as LLVM text, compiled with the native runtime that every object carries."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from stepwell.codegen.cpu_runtime import runtime_text
from stepwell.runtime.plan_file import Plan, Section

KERNELS = r"""
target triple = "x86_64-pc-linux-gnu"
; double(slots = {x, y}, ...): 8 floats per tile, y = 2 x
define void @double(ptr %slots, i64 %first, i64 %last) {
entry:
  %x = load ptr, ptr %slots
  %y_at = getelementptr i64, ptr %slots, i64 1
  %y = load ptr, ptr %y_at
  %begin = mul i64 %first, 8
  %end = mul i64 %last, 8
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
  %from = getelementptr float, ptr %x, i64 %i
  %value = load float, ptr %from
  %twice = fadd float %value, %value
  %to = getelementptr float, ptr %y, i64 %i
  store float %twice, ptr %to
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}
; gather(slots = {table, y, channels, scale}): one table entry per tile, y[entry] = scale * row
define void @gather(ptr %slots, i64 %first, i64 %last) {
entry:
  %table = load ptr, ptr %slots
  %y_at = getelementptr i64, ptr %slots, i64 1
  %y = load ptr, ptr %y_at
  %c_at = getelementptr i64, ptr %slots, i64 2
  %channels = load i64, ptr %c_at
  %scale_at = getelementptr i64, ptr %slots, i64 3
  %scale = load float, ptr %scale_at
  br label %entries
entries:
  %e = phi i64 [ %first, %entry ], [ %e_next, %entry_done ]
  %row_at = getelementptr ptr, ptr %table, i64 %e
  %row = load ptr, ptr %row_at
  %out = mul i64 %e, %channels
  br label %loop
loop:
  %i = phi i64 [ 0, %entries ], [ %next, %loop ]
  %from = getelementptr float, ptr %row, i64 %i
  %value = load float, ptr %from
  %scaled = fmul float %value, %scale
  %at = add i64 %out, %i
  %to = getelementptr float, ptr %y, i64 %at
  store float %scaled, ptr %to
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %channels
  br i1 %more, label %loop, label %entry_done
entry_done:
  %e_next = add i64 %e, 1
  %e_more = icmp ult i64 %e_next, %last
  br i1 %e_more, label %entries, label %done
done:
  ret void
}
"""


def compile_text(text: str, relocation: str = "pic") -> bytes:
    """LLVM text -> relocatable object for any x86-64."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    module = llvm.parse_assembly(text)
    module.verify()
    target = llvm.Target.from_triple("x86_64-pc-linux-gnu")
    machine = target.create_target_machine(cpu="x86-64-v2", opt=2, reloc=relocation, codemodel="small")
    return bytes(machine.emit_object(module))


@pytest.fixture(scope="session")
def compile_object() -> Callable[..., bytes]:
    """LLVM text -> object."""
    return compile_text


@pytest.fixture(scope="session")
def native_object() -> bytes:
    """The kernels above with the native runtime."""
    return compile_text(KERNELS + runtime_text(["double", "gather"]))


def place(space: str, offset: int = 0, binding: int | None = None) -> dict[str, Any]:
    """A PLACE of the schema."""
    return {"space": space, "offset": offset, **({} if binding is None else {"binding": binding})}


def pointer(space: str, offset: int = 0, binding: int | None = None) -> dict[str, Any]:
    """A pointer argument."""
    return {"kind": "pointer", "place": place(space, offset, binding)}


def program_of(level: str = "x86-64-v2") -> dict[str, Any]:
    """x [4, 8] -> double -> arena -> double -> y, and a copy of y into z; c * 2 -> w from the constants."""

    def binding(name: str, direction: str) -> dict[str, Any]:
        return {"name": name, "direction": direction, "dtype": "f32", "shape": [4, 8]}

    def launch(source: dict[str, Any], target: dict[str, Any], name: str) -> dict[str, Any]:
        return {"kernel": 0, "arguments": [source, target], "tiles": 4, "grain": 1, "names": [name]}

    outputs = [binding(name, "output") for name in ("y", "z", "w")]
    return {
        "schema": 2, "target": "cpu", "level": level, "module_hash": hashlib.sha256(b"module").hexdigest(),
        "arena": 256, "constants": 256, "bindings": [binding("x", "input"), *outputs],
        "windows": [], "tables": [], "tensor_maps": [], "kernels": ["double", "gather"],
        "launches": [
            launch(pointer("binding", binding=0), pointer("arena"), "first"),
            launch(pointer("arena"), pointer("binding", binding=1), "second"),
            launch(pointer("constants"), pointer("binding", binding=3), "third"),
        ],
        "copies": [{"source": place("binding", binding=1), "target": place("binding", binding=2), "bytes": 128}],
        "memory": {"slices": 256},
    }  # fmt: skip


CONSTANTS = np.arange(64, dtype=np.float32)


@pytest.fixture
def program() -> dict[str, Any]:
    """The JSON of a small program, to be changed by the test."""
    return program_of()


@pytest.fixture(scope="session")
def make_plan(native_object: bytes) -> Callable[..., Plan]:
    """A plan around a program (default: the small one)."""

    def make(program: dict[str, Any] | None = None, **details: Any) -> Plan:
        made = program_of() if program is None else program
        section = Section("cpu", "cpu", made["level"], made, "module", {"o": native_object}, CONSTANTS.tobytes())
        return Plan((section,), details)

    return make
