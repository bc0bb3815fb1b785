"""The translator: a module of the llvm (and llvm_extra) dialect -> LLVM text.

It is the only place where a vector is taken apart: at the operands and results of inline assembly (`llvm_text_ops`). Intrinsics are checked
against the whitelist and declared from it. The text is deterministic: values keep their names (made unique), all else is numbered in order.

Function attributes read (MLIR's names): `nvvm.kernel` (calling convention ptx_kernel), `nvvm.maxntid`, `nvvm.minctasm`, `passthrough`, and the
properties target_cpu, no_inline, no_unwind. Argument attributes: see ARGUMENT_ATTRIBUTES. A module may hold a `plan.program` beside; it is not code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import MappingProxyType

from xdsl.dialects import llvm
from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, IntegerAttr, ModuleOp, StringAttr
from xdsl.ir import Attribute

from stepwell.codegen.llvm_text_function import Emitter, FunctionText, ModuleText
from stepwell.codegen.llvm_text_ops import EMITTERS
from stepwell.codegen.llvm_text_types import text_constant, text_type
from stepwell.ir.locations import names_of
from stepwell.runtime.errors import InternalError
from stepwell.types.targets import Target

ARGUMENT_ATTRIBUTES = MappingProxyType(
    {
        "llvm.noalias": "noalias",
        "llvm.readonly": "readonly",
        "llvm.writeonly": "writeonly",
        "llvm.nocapture": "captures(none)",
        "llvm.nonnull": "nonnull",
        "llvm.noundef": "noundef",
        "llvm.align": "align {}",
        "llvm.dereferenceable": "dereferenceable({})",
        "llvm.byval": "byval({})",
        "nvvm.grid_constant": '"nvvm.grid_constant"',
    }
)
"""MLIR's argument attribute -> LLVM text; `{}` is its integer or type."""


def translate(module: ModuleOp, target: Target) -> str:
    """The LLVM text of all functions and globals of `module` for `target`."""
    shared = ModuleText(target)
    globals_, functions = list[str](), list[str]()
    for op in module.body.block.ops:
        match op:
            case llvm.FuncOp():
                functions.append(_function(shared, op, EMITTERS))
            case llvm.GlobalOp():
                globals_.append(_global(op))
            case _ if op.name.startswith("plan."):
                continue
            case _:
                raise InternalError(
                    f"{op.name} in the module has no translation to LLVM text",
                    hint="convert it to the llvm dialect first",
                )
    header = [f'target datalayout = "{target.data_layout}"'] if target.data_layout else []
    header.append(f'target triple = "{target.triple}"')
    declarations = sorted(shared.declarations.values())
    return "\n".join([*header, "", *globals_, "", *declarations, "", *functions]) + "\n"


def _global(op: llvm.GlobalOp) -> str:
    space = f"addrspace({op.addr_space.value.data}) " if op.addr_space.value.data else ""
    unnamed = "unnamed_addr " if op.unnamed_addr is not None and op.unnamed_addr.value.data == 2 else ""
    value = "" if op.value is None else " " + text_constant(op.value, op.global_type)
    if op.value is None and op.linkage.linkage.data != "external":
        value = " zeroinitializer"
    align = f", align {op.alignment.value.data}" if op.alignment is not None else ""
    linkage = "" if op.linkage.linkage.data == "external" and op.value is not None else op.linkage.linkage.data + " "
    kind = "constant" if op.constant is not None else "global"
    return f"@{op.sym_name.data} = {linkage}{unnamed}{space}{kind} {text_type(op.global_type)}{value}{align}"


def _function(shared: ModuleText, op: llvm.FuncOp, emitters: dict[str, Emitter]) -> str:
    attributes = dict(op.attributes) | dict(op.properties)
    convention = "ptx_kernel " if "nvvm.kernel" in attributes else ""
    result = text_type(op.function_type.output)
    if not op.body.blocks:
        inputs = ", ".join(text_type(t) for t in op.function_type.inputs)
        return f"declare {convention}{result} @{op.sym_name.data}({inputs})\n"
    text = FunctionText(shared, op)
    arguments = [
        " ".join([text_type(arg.type), *_argument_attributes(op, i), f"%{text.name(arg)}"])
        for i, arg in enumerate(op.body.blocks[0].args)
    ]
    text.emit(emitters)
    linkage = "" if op.linkage.linkage.data == "external" else op.linkage.linkage.data + " "
    names = names_of(op)
    comment = [f"; from {', '.join(_printable(n) for n in names)}"] if names else []
    suffix = "".join(" " + a for a in _function_attributes(attributes))
    head = f"define {linkage}{convention}{result} @{op.sym_name.data}({', '.join(arguments)}){suffix} {{"
    return "\n".join([*comment, head, *text.lines, "}\n"])


def _printable(name: str) -> str:
    return re.sub(r"[^\x20-\x7E]", "?", name)


def _argument_attributes(op: llvm.FuncOp, index: int) -> Iterable[str]:
    if op.arg_attrs is None:
        return
    for name, value in op.arg_attrs.data[index].data.items():
        if name not in ARGUMENT_ATTRIBUTES:
            raise InternalError(
                f"argument attribute {name} of @{op.sym_name.data} has no LLVM text",
                hint=f"known: {', '.join(ARGUMENT_ATTRIBUTES)}",
            )
        yield ARGUMENT_ATTRIBUTES[name].format(
            value.value.data if isinstance(value, IntegerAttr) else _type_or_unit(value)
        )


def _type_or_unit(value: Attribute) -> str:
    return "" if value.name == "unit" else text_type(value)


def _function_attributes(attributes: dict[str, Attribute]) -> Iterable[str]:
    for flag, text in (("no_inline", "noinline"), ("no_unwind", "nounwind")):
        if flag in attributes:
            yield text
    if isinstance(cpu := attributes.get("target_cpu"), StringAttr):
        yield f'"target-cpu"="{cpu.data}"'
    if isinstance(threads := attributes.get("nvvm.maxntid"), DenseArrayBase):
        yield f'"nvvm.maxntid"="{",".join(str(v) for v in threads.get_values())}"'
    if isinstance(blocks := attributes.get("nvvm.minctasm"), IntegerAttr):
        yield f'"nvvm.minctasm"="{blocks.value.data}"'
    passthrough = attributes.get("passthrough")
    for entry in passthrough if isinstance(passthrough, ArrayAttr) else ():
        match entry:
            case StringAttr():
                yield entry.data
            case ArrayAttr(data=(StringAttr(data=key), StringAttr(data=value))):
                yield f'"{key}"="{value}"'
