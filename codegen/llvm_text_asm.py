"""Inline assembly as LLVM text: the one place where vectors are taken apart into registers and put together again."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects import llvm
from xdsl.dialects.builtin import VectorType
from xdsl.ir import Attribute, SSAValue

from stepwell.codegen.llvm_text_function import FunctionText
from stepwell.codegen.llvm_text_types import bit_width, text_type
from stepwell.runtime.errors import InternalError


def pieces(of: Attribute) -> list[Attribute]:
    """The registers of an asm operand of this type: itself for a scalar, one piece per element of 32 bits or wider or per 32 bits of
    narrower elements for a vector, the pieces of the fields for a struct."""
    match of:
        case llvm.LLVMStructType():
            return [piece for field in of.types for piece in pieces(field)]
        case VectorType():
            group = max(1, 32 // bit_width(of.element_type))
            count = of.get_shape()[0]
            if count % group:
                raise InternalError(f"an asm operand of type {of} does not fill whole 32-bit registers")
            return [of.element_type if group == 1 else VectorType(of.element_type, [group])] * (count // group)
    return [of]


def _split(f: FunctionText, value: SSAValue) -> Iterator[str]:
    """`type operand` of each piece of an operand."""
    parts = pieces(value.type)
    if parts == [value.type]:
        yield f.typed(value)
        return
    if not isinstance(value.type, VectorType):
        raise InternalError(
            f"an asm operand of type {value.type} cannot be taken apart", hint="pass its fields one by one"
        )
    hint = value.name_hint or "part"
    for i, part in enumerate(parts):
        if isinstance(part, VectorType):
            group = part.get_shape()[0]
            lanes = ", ".join(f"i32 {i * group + k}" for k in range(group))
            text = f"shufflevector {f.typed(value)}, {text_type(value.type)} poison, <{group} x i32> <{lanes}>"
        else:
            text = f"extractelement {f.typed(value)}, i64 {i}"
        yield f"{text_type(part)} {f.temporary(text, f'{hint}_{i}')}"


def _join(f: FunctionText, parts: list[str], of: Attribute, result: SSAValue | None, hint: str) -> str:
    """Build a value of type `of` from its pieces (operand texts), assigned to `result` or to a new name."""
    if not isinstance(of, VectorType):
        return parts[0]
    types = pieces(of)
    value = "poison"
    for i, (part, piece) in enumerate(zip(parts, types, strict=True)):
        for lane in range(piece.get_shape()[0] if isinstance(piece, VectorType) else 1):
            scalar, group = part, 1
            if isinstance(piece, VectorType):
                group = piece.get_shape()[0]
                scalar = f.temporary(f"extractelement {text_type(piece)} {part}, i64 {lane}", hint)
            text = (
                f"insertelement {text_type(of)} {value}, {text_type(of.element_type)} {scalar}, i64 {i * group + lane}"
            )
            last = i == len(types) - 1 and lane == group - 1
            if last and result is not None:
                f.line(text, result)
                return f"%{f.name(result)}"
            value = f.temporary(text, hint)
    return value


def emit_inline_asm(f: FunctionText, op: llvm.InlineAsmOp) -> None:
    operands = [text for v in op.operands_ for text in _split(f, v)]
    flags = ("sideeffect " if op.has_side_effects is not None else "") + (
        "alignstack " if op.is_align_stack is not None else ""
    )
    flags += "inteldialect " if op.asm_dialect is not None and op.asm_dialect.value.data == 1 else ""
    parts = pieces(op.res.type) if op.res is not None else []
    _check_constraints(op, len(parts), len(operands))
    result = (
        "void"
        if not parts
        else text_type(parts[0])
        if len(parts) == 1
        else "{ " + ", ".join(text_type(p) for p in parts) + " }"
    )
    call = f'call {result} asm {flags}"{_escaped(op.asm_string.data)}", "{_escaped(op.constraints.data)}"({", ".join(operands)})'
    if op.res is None or parts == [op.res.type]:
        f.line(call, op.res)
        return
    whole = f.temporary(call, "asm")
    if len(parts) == 1:
        texts = [whole]
    else:
        texts = [f.temporary(f"extractvalue {result} {whole}, {i}", "out") for i in range(len(parts))]
    _assign(f, op.res, texts)


def _assign(f: FunctionText, result: SSAValue, texts: list[str]) -> None:
    if not isinstance(result.type, llvm.LLVMStructType):
        _join(f, texts, result.type, result, "join")
        return
    value, start, fields = "undef", 0, result.type.types.data
    for i, field in enumerate(fields):
        count = len(pieces(field))
        joined = _join(f, texts[start : start + count], field, None, "join")
        start += count
        text = f"insertvalue {text_type(result.type)} {value}, {text_type(field)} {joined}, {i}"
        if i == len(fields) - 1:
            f.line(text, result)
        else:
            value = f.temporary(text, "join")


def _check_constraints(op: llvm.InlineAsmOp, outputs: int, inputs: int) -> None:
    listed = [c for c in op.constraints.data.split(",") if c and not c.startswith("~")]
    written = sum(c.startswith("=") for c in listed)
    if (written, len(listed) - written) != (outputs, inputs):
        raise InternalError(
            f"llvm.inline_asm: the constraints have {written} outputs and {len(listed) - written} inputs, the operands taken apart {outputs} and {inputs}",
            hint=f"asm: {op.asm_string.data[:80]}",
        )


def _escaped(text: str) -> str:
    return "".join(c if " " <= c <= "~" and c not in '"\\' else f"\\{ord(c):02X}" for c in text)
