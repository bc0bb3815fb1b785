"""One function per kind of llvm op: its LLVM text. `EMITTERS` maps op names to them."""

from __future__ import annotations

from typing import Any

from xdsl.dialects import llvm
from xdsl.dialects.builtin import IntegerAttr, VectorType, i1
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen.intrinsics import check_name
from stepwell.codegen.llvm_text_asm import emit_inline_asm
from stepwell.codegen.llvm_text_function import Emitter, FunctionText
from stepwell.codegen.llvm_text_types import mangled, text_type
from stepwell.dialects import llvm_extra
from stepwell.runtime.errors import InternalError

FAST_MATH_ORDER = ("reassoc", "nnan", "ninf", "nsz", "arcp", "contract", "afn")


def fast_math(op: Operation) -> str:
    """The op's fastmath flags, each with a blank after it, in LLVM's order."""
    flags = op.properties.get("fastmathFlags")
    held = {str(flag) for flag in flags.data} if isinstance(flags, llvm.FastMathAttr) else set()
    return "".join(f"{flag} " for flag in FAST_MATH_ORDER if flag in held)


def _integer_flags(op: Operation) -> str:
    flags = ""
    overflow = op.properties.get("overflowFlags")
    if isinstance(overflow, IntegerAttr):
        flags += ("nsw " if overflow.value.data & 1 else "") + ("nuw " if overflow.value.data & 2 else "")
    elif isinstance(overflow, llvm.OverflowAttr):
        held = {str(flag) for flag in overflow.data}
        flags += "".join(f"{flag} " for flag in ("nsw", "nuw") if flag in held)
    for name, text in (("isExact", "exact "), ("isDisjoint", "disjoint "), ("nonNeg", "nneg ")):
        flags += text if name in op.properties else ""
    return flags


def _nothing(f: FunctionText, op: Operation) -> None:
    """Constants and addresses are written where they are used."""


def _binary(f: FunctionText, op: Operation) -> None:
    mnemonic = op.name.removeprefix("llvm.")
    lhs, rhs = op.operands
    f.line(f"{mnemonic} {_integer_flags(op)}{fast_math(op)}{f.typed(lhs)}, {f.ref(rhs)}", op.results[0])


def _unary(f: FunctionText, op: Operation) -> None:
    f.line(f"{op.name.removeprefix('llvm.')} {fast_math(op)}{f.typed(op.operands[0])}", op.results[0])


def _cast(f: FunctionText, op: Operation) -> None:
    mnemonic = op.name.split(".", 1)[1]
    f.line(
        f"{mnemonic} {_integer_flags(op)}{f.typed(op.operands[0])} to {text_type(op.results[0].type)}", op.results[0]
    )


def _icmp(f: FunctionText, op: llvm.ICmpOp) -> None:
    predicate = llvm.ICmpPredicateFlag.from_int(op.predicate.value.data)
    f.line(f"icmp {predicate} {f.typed(op.lhs)}, {f.ref(op.rhs)}", op.res)


def _fcmp(f: FunctionText, op: llvm.FCmpOp) -> None:
    predicate = llvm.FCmpPredicateFlag.from_int(op.predicate.value.data).lstrip("_")
    f.line(f"fcmp {fast_math(op)}{predicate} {f.typed(op.lhs)}, {f.ref(op.rhs)}", op.res)


def _fcmp_extra(f: FunctionText, op: llvm_extra.FCmpOp) -> None:
    f.line(f"fcmp {op.predicate.data} {f.typed(op.lhs)}, {f.ref(op.rhs)}", op.res)


def _select(f: FunctionText, op: Operation) -> None:
    f.line(f"select {fast_math(op)}" + ", ".join(f.typed(v) for v in op.operands), op.results[0])


def _gep(f: FunctionText, op: llvm.GEPOp) -> None:
    dynamic = iter(op.ssa_indices)
    indices = [
        f.typed(next(dynamic)) if index == llvm.GEP_USE_SSA_VAL else f"i32 {index}"
        for index in op.rawConstantIndices.iter_values()
    ]
    bounds = "inbounds " if op.inbounds is not None else ""
    f.line(f"getelementptr {bounds}{text_type(op.elem_type)}, {f.typed(op.ptr)}, {', '.join(indices)}", op.result)


def _memory_suffix(op: Operation) -> str:
    alignment = op.properties.get("alignment")
    text = f", align {alignment.value.data}" if isinstance(alignment, IntegerAttr) else ""
    if "nontemporal" in op.properties or "nontemporal" in op.attributes:
        text += ", !nontemporal !{i32 1}"
    return text + (", !invariant.load !{}" if "invariant" in op.attributes else "")


def _ordering(op: llvm.LoadOp | llvm.StoreOp) -> str:
    value = op.ordering.value.data if op.ordering is not None else 0
    return f" {llvm.ATOMIC_ORDERING_KEYWORDS[value]}" if value else ""


def _load(f: FunctionText, op: llvm.LoadOp) -> None:
    ordering = _ordering(op)
    atomic = "atomic " if ordering else ""
    text = f"load {atomic}{text_type(op.dereferenced_value.type)}, {f.typed(op.ptr)}{ordering}{_memory_suffix(op)}"
    f.line(text, op.dereferenced_value)


def _store(f: FunctionText, op: llvm.StoreOp) -> None:
    ordering = _ordering(op)
    kind = ("atomic " if ordering else "") + ("volatile " if op.volatile_ is not None else "")
    f.line(f"store {kind}{f.typed(op.value)}, {f.typed(op.ptr)}{ordering}{_memory_suffix(op)}")


def _alloca(f: FunctionText, op: llvm.AllocaOp) -> None:
    f.line(f"alloca {text_type(op.elem_type)}, {f.typed(op.size)}{_memory_suffix(op)}", op.res)


def _br(f: FunctionText, op: llvm.BrOp) -> None:
    f.line(f"br label %{f.blocks[op.successor]}")


def _cond_br(f: FunctionText, op: llvm.CondBrOp) -> None:
    f.line(f"br {f.typed(op.cond)}, label %{f.blocks[op.then_block]}, label %{f.blocks[op.else_block]}")


def _return(f: FunctionText, op: llvm.ReturnOp) -> None:
    f.line("ret void" if op.arg is None else f"ret {f.typed(op.arg)}")


def _unreachable(f: FunctionText, op: Operation) -> None:
    f.line("unreachable")


def _extract_value(f: FunctionText, op: llvm.ExtractValueOp) -> None:
    position = ", ".join(str(i) for i in op.position.iter_values())
    f.line(f"extractvalue {f.typed(op.container)}, {position}", op.res)


def _insert_value(f: FunctionText, op: llvm.InsertValueOp) -> None:
    position = ", ".join(str(i) for i in op.position.iter_values())
    f.line(f"insertvalue {f.typed(op.container)}, {f.typed(op.value)}, {position}", op.res)


def _insert_element(f: FunctionText, op: llvm.InsertElementOp) -> None:
    f.line(f"insertelement {f.typed(op.vector)}, {f.typed(op.value)}, {f.typed(op.index)}", op.res)


def _extract_element(f: FunctionText, op: llvm_extra.ExtractElementOp) -> None:
    f.line(f"extractelement {f.typed(op.vector)}, {f.typed(op.index)}", op.res)


def _shuffle(f: FunctionText, op: llvm.ShuffleVectorOp) -> None:
    values = list(op.mask.iter_values())
    if not any(values):
        mask = "zeroinitializer"
    else:
        mask = "<" + ", ".join("i32 poison" if v < 0 else f"i32 {v}" for v in values) + ">"
    f.line(f"shufflevector {f.typed(op.v1)}, {f.typed(op.v2)}, <{len(values)} x i32> {mask}", op.res)


def _masked_load(f: FunctionText, op: llvm_extra.MaskedLoadOp) -> None:
    operands = [(f"ptr align {op.alignment.value.data}", f.ref(op.ptr)), _pair(f, op.mask), _pair(f, op.pass_thru)]
    f.line(f.intrinsic("llvm.masked.load", operands, text_type(op.res.type), mangled(op.res.type)), op.res)


def _masked_store(f: FunctionText, op: llvm_extra.MaskedStoreOp) -> None:
    operands = [_pair(f, op.value), (f"ptr align {op.alignment.value.data}", f.ref(op.ptr)), _pair(f, op.mask)]
    f.line(f.intrinsic("llvm.masked.store", operands, "void", mangled(op.value.type)))


def _atomic_rmw(f: FunctionText, op: llvm_extra.AtomicRMWOp) -> None:
    scope = f' syncscope("{op.scope.data}")' if op.scope is not None else ""
    f.line(f"atomicrmw {op.kind.data} {f.typed(op.ptr)}, {f.typed(op.value)}{scope} {op.ordering.data}", op.res)


def _fence(f: FunctionText, op: llvm_extra.FenceOp) -> None:
    scope = f' syncscope("{op.scope.data}")' if op.scope is not None else ""
    f.line(f"fence{scope} {op.ordering.data}")


def _call(f: FunctionText, op: llvm.CallOp) -> None:
    arguments = list(op.args)
    callee = f"@{op.callee.root_reference.data}" if op.callee is not None else f.ref(arguments.pop(0))
    result = "void" if op.returned is None else text_type(op.returned.type)
    f.line(f"call {fast_math(op)}{result} {callee}({', '.join(f.typed(a) for a in arguments)})", op.returned)


def _pair(f: FunctionText, value: SSAValue) -> tuple[str, str]:
    return text_type(value.type), f.ref(value)


def _named_intrinsic(f: FunctionText, op: Operation) -> None:
    """`llvm.intr.fma` and its like: the whitelisted intrinsic of that name, overloaded on the result."""
    result = op.results[0]
    name = check_name("llvm." + op.name.removeprefix("llvm.intr.")).name
    operands = [_pair(f, v) for v in op.operands]
    f.line(f.intrinsic(name, operands, text_type(result.type), mangled(result.type), fast_math(op)), result)


def _call_intrinsic(f: FunctionText, op: llvm.CallIntrinsicOp) -> None:
    """Checked against the whitelist: number and types of operands, the result, and that immediates are constants."""
    signature = check_name(op.intrin.data)
    result = "void" if op.ress is None else text_type(op.ress.type)
    operands = [_pair(f, v) for v in op.args]
    overload = next((v.type for v, s in zip(op.args, signature.operands, strict=False) if s == "T"), None)
    if overload is None and op.ress is not None:
        overload = op.ress.type
    names = {"T": text_type(overload), "M": _mask_text(overload)} if overload is not None else {}
    expected = [names.get(s, s) for s in (signature.result, *signature.operands)]
    found = [result, *(t for t, _ in operands)]
    if expected != found:
        raise InternalError(
            f"intrinsic '{signature.name}' is used as {found[0]} ({', '.join(found[1:])})",
            hint=f"its signature is {signature}",
        )
    for position in signature.immediates:
        if not isinstance(op.args[position].owner, llvm.ConstantOp):
            raise InternalError(f"operand {position} of intrinsic '{signature.name}' must be a constant")
    mangled_name = mangled(overload) if signature.overloaded and overload is not None else ""
    f.line(f.intrinsic(signature.name, operands, result, mangled_name, fast_math(op)), op.ress)


def _mask_text(of: Attribute) -> str:
    return text_type(VectorType(i1, of.get_shape())) if isinstance(of, VectorType) else "i1"


def _table() -> dict[str, Emitter]:
    table: dict[str, Emitter] = {}
    groups: list[tuple[Emitter, str]] = [
        (_nothing, "mlir.constant mlir.undef mlir.zero mlir.addressof"),
        (_binary, "add sub mul udiv sdiv urem srem and or xor shl lshr ashr fadd fsub fmul fdiv frem"),
        (_unary, "fneg"),
        (_cast, "trunc zext sext ptrtoint inttoptr bitcast fpext fptrunc sitofp"),
        (
            _named_intrinsic,
            " ".join(
                f"intr.{n}" for n in ["fabs", "ceil", "sqrt", "floor", "exp2", "maxnum", "minnum", "copysign", "fma"]
            ),
        ),
        (_unreachable, "unreachable"),
    ]
    for emitter, names in groups:
        table |= {f"llvm.{name}": emitter for name in names.split()}
    table |= {
        op.name: _cast
        for op in (llvm_extra.AddrSpaceCastOp, llvm_extra.FPToSIOp, llvm_extra.FPToUIOp, llvm_extra.UIToFPOp)
    }
    single: dict[Any, Any] = {
        llvm.ICmpOp: _icmp, llvm.FCmpOp: _fcmp, llvm.SelectOp: _select, llvm.GEPOp: _gep, llvm.LoadOp: _load, llvm.StoreOp: _store,
        llvm.AllocaOp: _alloca, llvm.BrOp: _br, llvm.CondBrOp: _cond_br, llvm.ReturnOp: _return, llvm.ExtractValueOp: _extract_value,
        llvm.InsertValueOp: _insert_value, llvm.InsertElementOp: _insert_element, llvm.ShuffleVectorOp: _shuffle, llvm.CallOp: _call,
        llvm.CallIntrinsicOp: _call_intrinsic, llvm.InlineAsmOp: emit_inline_asm, llvm_extra.PoisonOp: _nothing,
        llvm_extra.ExtractElementOp: _extract_element, llvm_extra.FCmpOp: _fcmp_extra, llvm_extra.SelectOp: _select,
        llvm_extra.MaskedLoadOp: _masked_load, llvm_extra.MaskedStoreOp: _masked_store, llvm_extra.AtomicRMWOp: _atomic_rmw,
        llvm_extra.FenceOp: _fence,
    }  # fmt: skip
    table |= {op.name: emitter for op, emitter in single.items()}
    return table


EMITTERS = _table()
"""Op name -> its emitter."""
