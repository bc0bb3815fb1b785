"""Conversions to the llvm dialect: each arith and math op runs natively and gives what the interpreters' table gives; structure and refusals."""

from __future__ import annotations

import ctypes
from functools import lru_cache

import numpy as np
import pytest
from xdsl.dialects import llvm
from xdsl.dialects.builtin import ModuleOp, UnknownLoc
from xdsl.ir import Operation
from xdsl.parser import Parser

from stepwell.codegen.llvm_text import translate
from stepwell.codegen.objects import compile_object
from stepwell.dialects.evaluate import evaluate
from stepwell.passes import PassFailure, names_of
from stepwell.plugins.universe import make_context
from stepwell.runtime.elf import Image
from stepwell.transforms.kernel_to_llvm import arith as arith_table
from stepwell.transforms.kernel_to_llvm import base as base_table
from stepwell.transforms.kernel_to_llvm.convert_kernel_to_llvm import PASS as TO_LLVM
from stepwell.transforms.kernel_to_llvm.convert_kernel_to_llvm import merged_tables
from stepwell.transforms.kernel_to_llvm.convert_scf_to_cf import PASS as TO_CF
from stepwell.types.targets import CPU_LEVELS, supports

LEVEL = CPU_LEVELS["x86-64-v3"]
DTYPES = {
    "f32": np.float32,
    "f16": np.float16,
    "i32": np.int32,
    "i64": np.int64,
    "index": np.int64,
    "i1": np.int8,
    "i8": np.int8,
}
FLOATS = np.array([0.0, -0.0, 1.0, -1.5, 2.5, 3.25, 7.0, -1e-3, 65504.0, np.inf, -np.inf, np.nan], np.float32)
WHOLE = np.array([0, 1, -1, 2, 7, -7, 31, 5, 100, -100, 2**31 - 1, -(2**31)], np.int64)

BINARY_INTEGER = [
    "addi",
    "subi",
    "muli",
    "divui",
    "divsi",
    "remui",
    "remsi",
    "andi",
    "ori",
    "xori",
    "minui",
    "maxui",
    "minsi",
    "maxsi",
]
BINARY_FLOAT = ["addf", "subf", "mulf", "divf", "maximumf", "minimumf"]
UNARY_FLOAT = ["absf", "sqrt", "floor", "ceil", "trunc", "roundeven"]
COMPARE_FLOAT = ["oeq", "ogt", "oge", "olt", "ole", "one", "ord", "ueq", "ugt", "uge", "ult", "ule", "une", "uno"]
COMPARE_INTEGER = ["eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge"]

CASES: list[tuple[str, str, tuple[str, ...], str]] = [
    *((f"{op}_{t}", f"arith.{op} %a0, %a1 : {t}", (t, t), t) for op in BINARY_INTEGER for t in ("i32", "i64")),
    *((op, f"arith.{op} %a0, %a1 : i32", ("i32", "shift"), "i32") for op in ("shli", "shrui", "shrsi")),
    *((op, f"arith.{op} %a0, %a1 : f32", ("f32", "f32"), "f32") for op in BINARY_FLOAT),
    *((op, f"math.{op} %a0 : f32", ("f32",), "f32") for op in UNARY_FLOAT),
    ("copysign", "math.copysign %a0, %a1 : f32", ("f32", "f32"), "f32"),
    ("fma", "math.fma %a0, %a1, %a2 : f32", ("f32", "f32", "f32"), "f32"),
    ("negf", "arith.negf %a0 : f32", ("f32",), "f32"),
    *((f"cmpf_{p}", f"arith.cmpf {p}, %a0, %a1 : f32", ("f32", "f32"), "i1") for p in COMPARE_FLOAT),
    *((f"cmpi_{p}", f"arith.cmpi {p}, %a0, %a1 : i32", ("i32", "i32"), "i1") for p in COMPARE_INTEGER),
    ("select", "arith.select %a0, %a1, %a2 : f32", ("i1", "f32", "f32"), "f32"),
    ("extf", "arith.extf %a0 : f16 to f32", ("f16",), "f32"),
    ("truncf", "arith.truncf %a0 : f32 to f16", ("f32",), "f16"),
    ("extsi", "arith.extsi %a0 : i32 to i64", ("i32",), "i64"),
    ("extui", "arith.extui %a0 : i32 to i64", ("i32",), "i64"),
    ("trunci", "arith.trunci %a0 : i64 to i32", ("i64",), "i32"),
    ("sitofp", "arith.sitofp %a0 : i32 to f32", ("i32",), "f32"),
    ("fptosi", "arith.fptosi %a0 : f32 to i32", ("small",), "i32"),
    ("bitcast", "arith.bitcast %a0 : f32 to i32", ("f32",), "i32"),
    ("index_cast", "arith.index_cast %a0 : index to i32", ("index",), "i32"),
    ("index_widen", "arith.index_cast %a0 : i32 to index", ("i32",), "index"),
]  # fmt: skip


def typed(kind: str) -> str:
    """The type of a kind of operand: `shift` and `small` are ranges of values."""
    return {"shift": "i32", "small": "f32"}.get(kind, kind)


def function_text(name: str, op: str, operands: tuple[str, ...], result: str) -> str:
    """A loop over arrays that applies the op to one element of each."""
    memory = {"i1": "i8", "index": "i64"}
    lines = []
    for i, kind in enumerate(operands):
        held = memory.get(typed(kind), typed(kind))
        lines.append(f"%p{i} = llvm.getelementptr %x{i}[%at] : (!llvm.ptr, i64) -> !llvm.ptr, {held}")
        lines.append(f"%m{i} = llvm.load %p{i} : !llvm.ptr -> {held}")
        convert = {"i1": f"arith.trunci %m{i} : i8 to i1", "index": f"arith.index_cast %m{i} : i64 to index"}
        lines.append(
            f"%a{i} = {convert[typed(kind)]}"
            if typed(kind) in convert
            else f"%a{i} = arith.bitcast %m{i} : {held} to {held}"
        )
    lines.append(f"%r = {op}")
    back = {"i1": "arith.extui %r : i1 to i8", "index": "arith.index_cast %r : index to i64"}
    lines.append(f"%o = {back[result]}" if result in back else f"%o = arith.bitcast %r : {result} to {result}")
    held = memory.get(result, result)
    lines.append(f"%q = llvm.getelementptr %y[%at] : (!llvm.ptr, i64) -> !llvm.ptr, {held}")
    lines.append(f"llvm.store %o, %q : {held}, !llvm.ptr")
    arguments = ", ".join(f"%x{i}: !llvm.ptr" for i in range(len(operands)))
    body = "\n".join(lines)
    return f"""func.func @{name}({arguments}, %y: !llvm.ptr, %n: index) {{
      %zero = arith.constant 0 : index
      %one = arith.constant 1 : index
      scf.for %i = %zero to %n step %one {{
        %at = arith.index_cast %i : index to i64
        {body}
      }}
      func.return
    }}"""


def parse(text: str) -> ModuleOp:
    module = Parser(make_context(), f"builtin.module {{\n{text}\n}}").parse_module()
    module.verify()
    return module


def converted(text: str) -> ModuleOp:
    module = parse(text)
    for step in (TO_CF(), TO_LLVM()):
        step.apply(make_context(), module)
        module.verify()
    return module


@lru_cache
def image() -> Image:
    """All cases in one object."""
    return Image(compile_object(translate(converted("\n".join(function_text(*case) for case in CASES)), LEVEL), LEVEL))


SAMPLES: dict[str, np.ndarray] = {
    "f32": FLOATS,
    "f16": FLOATS.astype(np.float16),
    "small": np.clip(np.nan_to_num(FLOATS), -1000, 1000),
    "shift": np.arange(12, dtype=np.int32),
    "i1": np.arange(12, dtype=np.int8) % 2,
    "i32": WHOLE.astype(np.int32),
    "i64": WHOLE,
    "index": WHOLE,
}


def samples(kind: str, position: int) -> np.ndarray:
    """Operand number `position` of all combinations of values."""
    index = np.indices((12, 12, 3))[position].reshape(-1)
    return np.ascontiguousarray(SAMPLES[kind][index])


@pytest.mark.skipif(not supports(LEVEL), reason="this CPU is below x86-64-v3")
@pytest.mark.parametrize(("name", "op", "operands", "result"), CASES, ids=[case[0] for case in CASES])
def test_native_is_what_the_table_says(name: str, op: str, operands: tuple[str, ...], result: str) -> None:
    inputs = [samples(kind, position) for position, kind in enumerate(operands)]
    if name.startswith(("div", "rem")) and not name.startswith("divf"):  # x / 0 and min / -1 have no value
        keep = (inputs[1] != 0) & ~((inputs[0] == inputs[0].min()) & (inputs[1] == -1))
        inputs = [value[keep] for value in inputs]
    output = np.zeros(len(inputs[0]), DTYPES[result])
    pointers = [ctypes.c_void_p(value.ctypes.data) for value in (*inputs, output)]
    ctypes.CFUNCTYPE(None)(image().address(name))(*pointers, ctypes.c_int64(len(output)))
    with np.errstate(all="ignore"):
        (expected,) = evaluate(
            operation(op, operands), [i.astype(bool) if k == "i1" else i for i, k in zip(inputs, operands, strict=True)]
        )
    np.testing.assert_array_equal(output, np.asarray(expected).astype(DTYPES[result]))
    if output.dtype.kind == "f":
        numbers = ~np.isnan(output)
        np.testing.assert_array_equal(np.signbit(output[numbers]), np.signbit(np.asarray(expected)[numbers]))


def operation(op: str, operands: tuple[str, ...]) -> Operation:
    """The op alone."""
    arguments = ", ".join(f"%a{i}: {typed(kind)}" for i, kind in enumerate(operands))
    module = parse(f"func.func @f({arguments}) {{\n%r = {op}\nfunc.return\n}}")
    return next(o for o in module.walk() if o.name.startswith(("arith.", "math.")))


def names_in(module: ModuleOp) -> list[str]:
    return [op.name for op in module.walk()]


def test_vectors_stay_vectors() -> None:
    module = converted(
        """func.func @f(%s: f32, %v: vector<64xf32>, %i: index) -> vector<64xf32> {
             %b = vector.broadcast %s : f32 to vector<64xf32>
             %r = vector.fma %b, %v, %v : vector<64xf32>
             %e = vector.extract %r[%i] : f32 from vector<64xf32>
             %w = vector.insert %e, %r[3] : f32 into vector<64xf32>
             %x = vector.shuffle %w, %r [0, 64, 1, 65] : vector<64xf32>, vector<64xf32>
             func.return %w : vector<64xf32>
           }"""
    )
    text = translate(module, LEVEL)
    assert "call <64 x float> @llvm.fma.v64f32" in text and "extractelement <64 x float> %r, i64 %i" in text
    assert "<4 x i32> <i32 0, i32 64, i32 1, i32 65>" in text


def test_functions_keep_their_attributes() -> None:
    module = converted(
        """func.func private @helper(%x: f32) -> f32 { func.return %x : f32 }
           func.func @k(%p: !llvm.ptr {llvm.noalias}, %x: f32) attributes {stepwell.kernel, passthrough = ["nounwind"], other = 1 : i32} {
             %y = func.call @helper(%x) : (f32) -> f32
             func.return
           }"""
    )
    text = translate(module, LEVEL)
    assert "define internal float @helper" in text and "call float @helper(float %x)" in text
    assert "define void @k(ptr noalias %p, float %x) nounwind {" in text
    kernel = list(module.body.block.ops)[-1]
    assert "stepwell.kernel" in kernel.attributes and "other" not in kernel.attributes


def test_locations_and_loops() -> None:
    """Loop-carried vectors become block arguments; branches get the loop's name."""
    module = converted(
        """func.func @f(%v: vector<8xf32>, %n: index) -> vector<8xf32> {
             %zero = arith.constant 0 : index loc("conv")
             %one = arith.constant 1 : index loc("conv")
             %r = scf.for %i = %zero to %n step %one iter_args(%c = %v) -> (vector<8xf32>) {
               %d = arith.addf %c, %v : vector<8xf32> loc("inside")
               scf.yield %d : vector<8xf32> loc("conv")
             } loc("conv")
             func.return %r : vector<8xf32> loc("end")
           } loc("f")"""
    )
    ops = [op for op in module.walk() if op is not module]
    assert not any(isinstance(op.location, UnknownLoc) for op in ops)
    assert {name for op in ops if isinstance(op, llvm.BrOp | llvm.CondBrOp) for name in names_of(op)} == {"conv"}
    assert [names_of(op) for op in ops if isinstance(op, llvm.FAddOp)] == [("inside",)]
    assert "phi <8 x float>" in translate(module, LEVEL)


def test_two_ways_to_one_block_become_a_select() -> None:
    module = converted(
        """func.func @f(%c: i1, %x: f32, %y: f32) -> f32 {
             cf.cond_br %c, ^end(%x : f32), ^end(%y : f32)
           ^end(%r: f32):
             func.return %r : f32
           }"""
    )
    assert "llvm.select" in names_in(module) and "select i1 %c, float %x, float %y" in translate(module, LEVEL)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%r = math.erf %x : f32", "math.erf: has no conversion to the llvm dialect"),
        ("%r = arith.cmpf true, %x, %x : f32", "the predicates false and true are constants"),
        ("%v = vector.broadcast %x : f32 to vector<2x4xf32>", "a vector of rank 2 has no LLVM type"),
        ("%t = tensor.empty() : tensor<4xf32>", "tensor.empty: has no conversion"),
    ],
)
def test_refusals_name_the_op_and_leave_the_module(body: str, message: str) -> None:
    module = parse(f'func.func @f(%x: f32) {{\n{body} loc("conv1")\nfunc.return\n}}')
    before = str(module)
    with pytest.raises(PassFailure, match=message) as caught:
        TO_LLVM().apply(make_context(), module)
    assert caught.value.where == "conv1" and str(module) == before


def test_every_table_entry_is_a_function_of_its_own_op() -> None:
    converters, _ = merged_tables([arith_table, base_table])
    assert len(converters) > 60 and all(callable(convert) for convert in converters.values())
