"""Types and constants of the llvm dialect as LLVM text. Floats are written in hexadecimal, so that no digit is lost."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    ArrayAttr,
    BFloat16Type,
    DenseIntOrFPElementsAttr,
    Float16Type,
    Float32Type,
    FloatAttr,
    IntAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    SymbolRefAttr,
    VectorType,
)
from xdsl.ir import Attribute

from stepwell.dialects.numpy_types import row_of
from stepwell.runtime.errors import InternalError


def text_type(of: Attribute) -> str:
    """The LLVM spelling of a type."""
    match of:
        case IntegerType():
            return f"i{of.bitwidth}"
        case llvm.LLVMPointerType():
            return (
                f"ptr addrspace({of.addr_space.data})"
                if isinstance(of.addr_space, IntAttr) and of.addr_space.data
                else "ptr"
            )
        case VectorType():
            return f"<{of.get_shape()[0]} x {text_type(of.element_type)}>"
        case llvm.LLVMArrayType():
            return f"[{of.size.data} x {text_type(of.type)}]"
        case llvm.LLVMStructType():
            return "{ " + ", ".join(text_type(t) for t in of.types) + " }"
        case llvm.LLVMVoidType():
            return "void"
        case llvm.LLVMFunctionType():
            return f"{text_type(of.output)} ({', '.join(text_type(t) for t in of.inputs)})"
    if (row := row_of(of)) and row.llvm:
        return row.llvm
    raise InternalError(f"type {of} has no LLVM spelling", hint="convert it before translation")


def mangled(of: Attribute) -> str:
    """The suffix that stands for a type in the name of an overloaded intrinsic: `v16f32`, `i64`."""
    match of:
        case IntegerType():
            return f"i{of.bitwidth}"
        case VectorType():
            return f"v{of.get_shape()[0]}{mangled(of.element_type)}"
        case llvm.LLVMPointerType():
            return f"p{of.addr_space.data if isinstance(of.addr_space, IntAttr) else 0}"
    if (row := row_of(of)) and row.llvm:
        return row.name
    raise InternalError(f"type {of} cannot stand in an intrinsic's name")


def bit_width(of: Attribute) -> int:
    """Bits of an integer, float or pointer type (pointers to shared memory: 32)."""
    match of:
        case IntegerType():
            return of.bitwidth
        case llvm.LLVMPointerType():
            return 32 if isinstance(of.addr_space, IntAttr) and of.addr_space.data in (3, 7) else 64
    if (row := row_of(of)) and row.llvm:
        return row.bits
    raise InternalError(f"type {of} has no bit width")


def text_float(value: float, of: Attribute) -> str:
    """A float literal: `0xH` and `0xR` for the 16-bit types, the bits of the double of the same value otherwise."""
    match of:
        case Float16Type():
            return f"0xH{struct.unpack('<H', struct.pack('<e', value))[0]:04X}"
        case BFloat16Type():
            return f"0xR{bfloat_bits(value):04X}"
        case Float32Type():
            value = _to_float32(value)
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def _to_float32(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:  # rounds to infinity
        return float("inf") if value > 0 else float("-inf")


def bfloat_bits(value: float) -> int:
    """The bits of the nearest bf16, ties to even."""
    bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    return 0x7FC0 if math.isnan(value) else (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


def text_scalar(value: float, of: Attribute) -> str:
    """A scalar literal of an integer or float type; i1 as `true` / `false`."""
    if isinstance(of, IntegerType):
        return ("true" if value else "false") if of.bitwidth == 1 else str(int(value))
    return text_float(float(value), of)


def text_constant(value: Attribute, of: Attribute) -> str:
    """A constant attribute as a literal of type `of`: scalars, dense vectors and arrays, strings, tables of symbols."""
    match value:
        case IntegerAttr() | FloatAttr():
            if isinstance(of, VectorType):
                return _splat_or_list([value.value.data], of)
            return text_scalar(value.value.data, of)
        case DenseIntOrFPElementsAttr():
            return _splat_or_list(list(value.get_values()), of)
        case StringAttr() if isinstance(of, llvm.LLVMArrayType):
            return 'c"' + "".join(f"\\{byte:02X}" for byte in value.data.encode()) + '"'
        case ArrayAttr() if isinstance(of, llvm.LLVMArrayType):
            return "[" + ", ".join(f"{text_type(of.type)} {text_constant(v, of.type)}" for v in value) + "]"
        case SymbolRefAttr():
            return f"@{value.root_reference.data}"
    raise InternalError(f"constant {value} of type {of} has no LLVM spelling")


def _splat_or_list(values: Sequence[float], of: Attribute) -> str:
    element, count = (of.element_type, of.get_shape()[0]) if isinstance(of, VectorType) else _array(of)
    texts = [text_scalar(v, element) for v in values]
    if isinstance(of, VectorType) and len(set(texts)) == 1:
        zero = texts[0] in ("0", "false", text_scalar(0, element))
        return "zeroinitializer" if zero else f"splat ({text_type(element)} {texts[0]})"
    if len(texts) == 1:
        texts *= count
    inner = ", ".join(f"{text_type(element)} {t}" for t in texts)
    return f"<{inner}>" if isinstance(of, VectorType) else f"[{inner}]"


def _array(of: Attribute) -> tuple[Attribute, int]:
    if not isinstance(of, llvm.LLVMArrayType):
        raise InternalError(f"a dense constant of type {of} has no LLVM spelling")
    return of.type, of.size.data
