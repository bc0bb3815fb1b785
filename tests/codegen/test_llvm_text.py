"""The translator: LLVM accepts what it writes, the text has the features asked for, names and order are stable."""

from __future__ import annotations

import math
import struct
from io import StringIO

import llvmlite.binding as llvm_binding
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import BFloat16Type, ModuleOp, f16, f32, f64
from xdsl.parser import Parser
from xdsl.printer import Printer

from stepwell.codegen.llvm_text import translate
from stepwell.codegen.llvm_text_types import text_float
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import InternalError, UsageError
from stepwell.types.targets import CPU_LEVELS, SM_90A, Target

CPU = CPU_LEVELS["x86-64-v4"]


def parse(text: str) -> ModuleOp:
    module = Parser(make_context(), f"builtin.module {{\n{text}\n}}").parse_module()
    module.verify()
    return module


def text_of(text: str, target: Target = CPU) -> str:
    """The LLVM text, which LLVM must accept and which must be the same after a round trip through MLIR's text."""
    module = parse(text)
    made = translate(module, target)
    stream = StringIO()
    Printer(stream, print_debuginfo=True).print_op(module)
    assert translate(Parser(make_context(), stream.getvalue()).parse_module(), target) == made
    llvm_binding.parse_assembly(made).verify()
    return made


def test_kernel_attributes_of_cuda() -> None:
    made = text_of(
        """llvm.func @k(%x: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
             %p: !llvm.ptr<1> {llvm.noalias, llvm.readonly}) attributes {nvvm.kernel, nvvm.maxntid = array<i32: 384>, nvvm.minctasm = 1 : i32} {
             llvm.return
           }""",
        SM_90A,
    )
    assert "define ptx_kernel void @k(" in made
    assert 'ptr byval([128 x i8]) align 64 "nvvm.grid_constant" %x, ptr addrspace(1) noalias readonly %p' in made
    assert '"nvvm.maxntid"="384" "nvvm.minctasm"="1"' in made
    assert 'target triple = "nvptx64-nvidia-cuda"' in made


def test_function_attributes_of_cpus() -> None:
    made = text_of(
        'llvm.func @f() attributes {passthrough = ["nounwind", ["target-cpu", "x86-64-v4"]], target_cpu = "x"} { llvm.return }'
    )
    assert 'define void @f() "target-cpu"="x" nounwind "target-cpu"="x86-64-v4" {' in made


def test_block_arguments_become_phis() -> None:
    made = text_of(
        """llvm.func @f(%n: i32, %v: vector<64xf32>) -> vector<64xf32> {
             %zero = llvm.mlir.constant(0 : i32) : i32
             %one = llvm.mlir.constant(1 : i32) : i32
             llvm.br ^loop(%zero, %v : i32, vector<64xf32>)
           ^loop(%i: i32, %acc: vector<64xf32>):
             %next = llvm.add %i, %one overflow<nsw> : i32
             %sum = llvm.fadd %acc, %v {fastmathFlags = #llvm.fastmath<contract, nnan>} : vector<64xf32>
             %more = llvm.icmp "slt" %next, %n : i32
             llvm.cond_br %more, ^loop(%next, %sum : i32, vector<64xf32>), ^done
           ^done:
             llvm.return %sum : vector<64xf32>
           }"""
    )
    assert "%acc = phi <64 x float> [ %v, %bb0 ], [ %sum, %bb1 ]" in made
    assert "%i = phi i32 [ 0, %bb0 ], [ %next, %bb1 ]" in made
    assert "add nsw i32 %i, 1" in made
    assert "fadd nnan contract <64 x float> %acc, %v" in made


def test_memory_and_pointers() -> None:
    made = text_of(
        """llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
           llvm.mlir.global internal constant @table(dense<[1.0, 2.0]> : tensor<2xf32>) {addr_space = 0 : i32} : !llvm.array<2 x f32>
           llvm.func @f(%p: !llvm.ptr, %i: i64, %mask: vector<8xi1>) {
             %a = llvm.getelementptr inbounds %p[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
             %b = llvm.getelementptr %p[4] : (!llvm.ptr) -> !llvm.ptr, i64
             %v = llvm.load %a {alignment = 4 : i64, invariant} : !llvm.ptr -> vector<8xf32>
             %n = llvm.load %b atomic acquire {alignment = 8 : i64} : !llvm.ptr -> i64
             %m = llvm_extra.masked_load %a, %mask, %v align 4 : i64 : !llvm.ptr, vector<8xi1>, vector<8xf32>
             llvm_extra.masked_store %m, %b, %mask align 4 : i64 : vector<8xf32>, !llvm.ptr, vector<8xi1>
             llvm.store %v, %a {alignment = 4 : i64, nontemporal} : vector<8xf32>, !llvm.ptr
             %s = llvm.mlir.addressof @shared : !llvm.ptr<3>
             %g = llvm_extra.addrspacecast %s : !llvm.ptr<3> to !llvm.ptr
             %old = llvm_extra.atomicrmw "add" "acq_rel" %g, %i : !llvm.ptr, i64
             llvm_extra.fence "seq_cst"
             llvm.return
           }"""
    )
    for piece in (
        "@shared = external addrspace(3) global [0 x i8], align 1024",
        "@table = internal constant [2 x float] [float 0x3FF0000000000000, float 0x4000000000000000]",
        "getelementptr inbounds float, ptr %p, i64 %i",
        "getelementptr i64, ptr %p, i32 4",
        "load <8 x float>, ptr %a, align 4, !invariant.load !{}",
        "load atomic i64, ptr %b acquire, align 8",
        "call <8 x float> @llvm.masked.load.v8f32.p0(ptr align 4 %a, <8 x i1> %mask, <8 x float> %v)",
        "call void @llvm.masked.store.v8f32.p0(<8 x float> %m, ptr align 4 %b, <8 x i1> %mask)",
        "!nontemporal !{i32 1}",
        "addrspacecast ptr addrspace(3) @shared to ptr",
        "atomicrmw add ptr %g, i64 %i acq_rel",
        "fence seq_cst",
    ):
        assert piece in made, piece


def test_vectors_are_taken_apart_at_asm_only() -> None:
    """32 accumulators in and out, 16-bit elements two to a register; everywhere else the vector is one value."""
    outputs = ", ".join(f"${i}" for i in range(32))
    constraints = ",".join(["=f"] * 32 + [str(i) for i in range(32)] + ["r", "r", "l"])
    made = text_of(
        f"""llvm.func @f(%acc: vector<32xf32>, %a: vector<4xf16>, %d: i64) -> vector<32xf32> {{
              %r = llvm.inline_asm has_side_effects "mma {outputs};", "{constraints}" %acc, %a, %d : (vector<32xf32>, vector<4xf16>, i64) -> vector<32xf32>
              %s = llvm.fadd %r, %acc : vector<32xf32>
              llvm.return %s : vector<32xf32>
            }}""",
        SM_90A,
    )
    assert made.count("extractelement <32 x float> %acc") == 32 and made.count("insertelement <32 x float>") == 32
    assert made.count("shufflevector <4 x half> %a") == 2
    assert "fadd <32 x float> %r, %acc" in made
    assert "%a_0, <2 x half> %a_1, i64 %d)" in made


def test_asm_results_of_several_kinds() -> None:
    made = text_of(
        """llvm.func @f(%x: vector<2xf16>) -> i32 {
             %r = llvm.inline_asm "foo $0, $1, $2;", "=r,=f,=f,r" %x : (vector<2xf16>) -> !llvm.struct<(i32, vector<2xf32>)>
             %i = llvm.extractvalue %r[0] : !llvm.struct<(i32, vector<2xf32>)>
             llvm.return %i : i32
           }""",
        SM_90A,
    )
    assert "call { i32, float, float } asm" in made and "insertvalue { i32, <2 x float> }" in made


def test_wrong_constraints_are_our_fault() -> None:
    module = parse(
        'llvm.func @f(%x: vector<2xf32>) { llvm.inline_asm has_side_effects "x", "f" %x : (vector<2xf32>) -> ()\n llvm.return }'
    )
    with pytest.raises(InternalError, match=r"1 inputs, the operands taken apart 0 and 2"):
        translate(module, SM_90A)


def test_intrinsics_are_checked_and_declared() -> None:
    made = text_of(
        """llvm.func @f(%v: vector<8xf32>) -> vector<8xf32> {
             %r = llvm.call_intrinsic "llvm.fma"(%v, %v, %v) : (vector<8xf32>, vector<8xf32>, vector<8xf32>) -> vector<8xf32>
             %s = llvm.intr.fabs(%r) : (vector<8xf32>) -> vector<8xf32>
             llvm.return %s : vector<8xf32>
           }"""
    )
    assert "declare <8 x float> @llvm.fma.v8f32(<8 x float>, <8 x float>, <8 x float>)" in made
    assert "call <8 x float> @llvm.fabs.v8f32(<8 x float> %r)" in made


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            '"llvm.nvvm.frobnicate"(%i) : (i32) -> i32',
            UsageError,
            "intrinsic 'llvm.nvvm.frobnicate' is not whitelisted",
        ),
        ('"llvm.fma"(%i) : (i32) -> i32', InternalError, r"intrinsic 'llvm.fma' is used as i32 \(i32\)"),
        ('"llvm.exp2"(%f) : (f32) -> f32', InternalError, "intrinsic 'llvm.exp2' does not exist on cpu"),
        ('"llvm.nvvm.barrier.cta.sync.aligned.all"(%i) : (i32) -> ()', InternalError, "does not exist on cpu"),
        ('"llvm.prefetch.p0"(%p, %i, %i, %i) : (!llvm.ptr, i32, i32, i32) -> ()', InternalError, "must be a constant"),
    ],
)
def test_bad_intrinsics(call: str, error: type[Exception], message: str) -> None:
    result = "" if call.endswith("()") else "%r = "
    module = parse(
        f"llvm.func @f(%i: i32, %f: f32, %p: !llvm.ptr) {{ {result}llvm.call_intrinsic {call}\n llvm.return }}"
    )
    with pytest.raises(error, match=message):
        translate(module, CPU)


def test_vector_comparisons_and_casts() -> None:
    made = text_of(
        """llvm.func @f(%v: vector<4xf32>, %h: vector<4xf16>) -> vector<4xi32> {
             %c = llvm_extra.fcmp "ogt" %v, %v : vector<4xf32> -> vector<4xi1>
             %w = llvm.fpext %h : vector<4xf16> to vector<4xf32>
             %s = llvm_extra.select %c, %v, %w : vector<4xi1>, vector<4xf32>
             %i = llvm_extra.fptosi %s : vector<4xf32> to vector<4xi32>
             %p = llvm_extra.poison : vector<4xi32>
             %one = llvm.mlir.constant(1 : i64) : i64
             %e = llvm_extra.extractelement %i[%one : i64] : vector<4xi32> -> i32
             %x = llvm.insertelement %e, %p[%one : i64] : vector<4xi32>
             %y = llvm.shufflevector %x, %i [0, 5, 2, -1] : vector<4xi32>
             llvm.return %y : vector<4xi32>
           }"""
    )
    for piece in (
        "fcmp ogt <4 x float>",
        "select <4 x i1> %c",
        "fptosi <4 x float>",
        "<i32 0, i32 5, i32 2, i32 poison>",
    ):
        assert piece in made


def test_names_are_unique_and_locations_shown() -> None:
    made = text_of(
        """llvm.func @f(%x: i32, %bb1: i32) -> i32 {
             %a = llvm.add %x, %x : i32
             llvm.return %a : i32
           } loc("conv1")"""
    )
    assert "; from conv1\ndefine i32 @f(i32 %x," in made


def test_foreign_ops_are_named() -> None:
    with pytest.raises(InternalError, match="arith.addi has no translation"):
        translate(parse("llvm.func @f(%x: i32) { %a = arith.addi %x, %x : i32\n llvm.return }"), CPU)
    with pytest.raises(InternalError, match=r"func\.func in the module has no translation"):
        translate(parse("func.func @f() { func.return }"), CPU)


@given(st.floats(width=32) | st.floats())
def test_float_literals_keep_every_bit(value: float) -> None:
    bits = struct.unpack("<d", struct.pack("<Q", int(text_float(value, f64), 16)))[0]
    assert math.isnan(bits) if math.isnan(value) else bits == value
    with np.errstate(over="ignore"):
        single = np.float32(value)
    held = struct.unpack("<d", struct.pack("<Q", int(text_float(value, f32), 16)))[0]
    assert np.array_equal(np.float32(held), single, equal_nan=True) and (math.isnan(held) or held == float(single))


@pytest.mark.parametrize(("value", "half", "brain"), [(1.5, "0xH3E00", "0xR3FC0"), (-2.0, "0xHC000", "0xRC000"), (math.inf, "0xH7C00", "0xR7F80"), (1.00390625, "0xH3C04", "0xR3F80")])  # fmt: skip
def test_narrow_float_literals(value: float, half: str, brain: str) -> None:
    assert text_float(value, f16) == half
    assert text_float(value, BFloat16Type()) == brain
