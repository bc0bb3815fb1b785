"""The translator: a module of the llvm (and llvm_extra) dialect -> LLVM text.

It is the only place where a vector is taken apart: at the operands and results of inline assembly (`llvm_text_ops`). Intrinsics are checked
against the whitelist and declared from it. The text is deterministic: values keep their names (made unique), all else is numbered in order.

Function attributes read (MLIR's names): `nvvm.kernel` (calling convention ptx_kernel), `nvvm.maxntid`, `nvvm.minctasm`, `passthrough`, and the
properties target_cpu, no_inline, no_unwind. Argument attributes: see ARGUMENT_ATTRIBUTES. A module may hold a `plan.program` beside; it is not code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import MappingProxyType

from xdsl.dialects import llvm
from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, IntegerAttr, ModuleOp, StringAttr
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.codegen.intrinsics import INTRINSICS, Intrinsic
from stepwell.codegen.llvm_text_types import text_constant, text_type
from stepwell.ir.locations import names_of
from stepwell.runtime.errors import InternalError
from stepwell.types.targets import Target

Emitter = Callable[["FunctionText", Operation], None]

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


@dataclass
class ModuleText:
    """What the functions of one module share: the intrinsics to declare, in order of first use."""

    target: Target
    declarations: dict[str, str] = field(default_factory=dict)

    def declare(self, signature: Intrinsic, name: str, result: str, operands: Iterable[str]) -> None:
        """Note that the intrinsic `name` is used; an error when it does not select on this target."""
        if self.target.family not in signature.targets:
            raise InternalError(
                f"intrinsic '{signature.name}' does not exist on {self.target.name}",
                hint=f"it is for {', '.join(signature.targets)}",
            )
        self.declarations[name] = f"declare {result} @{name}({', '.join(operands)})"


class FunctionText:
    """One function on its way to text: names of values and blocks, and the lines so far."""

    def __init__(self, module: ModuleText, func: llvm.FuncOp) -> None:
        self.module, self.func, self.lines = module, func, list[str]()
        self._names: dict[SSAValue, str] = {}
        self._taken: set[str] = set()
        self.blocks = {block: f"bb{i}" for i, block in enumerate(func.body.blocks)}
        self._incoming: dict[Block, list[tuple[str, tuple[SSAValue, ...]]]] = {block: [] for block in self.blocks}
        for block in self.blocks:
            for value in (*block.args, *(r for op in block.ops for r in op.results)):
                self._names[value] = self.fresh(value.name_hint)
            self._note_edges(block)

    def fresh(self, hint: str | None) -> str:
        """A new local name (without the percent sign) that begins like `hint`; without one, numbered in order."""
        base = re.sub(r"[^A-Za-z0-9_]", "_", hint or f"v{len(self._taken)}")
        if re.fullmatch(r"bb\d+|\d+", base):  # names of blocks, and LLVM's own numbers
            base = f"v{base}"
        name, count = base, 0
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name

    def ref(self, value: SSAValue) -> str:
        """The value as an operand: a literal for constants, `@symbol`, or `%name`."""
        match value.owner:
            case llvm.ConstantOp():
                return text_constant(value.owner.value, value.type)
            case llvm.ZeroOp():
                return "null" if isinstance(value.type, llvm.LLVMPointerType) else "zeroinitializer"
            case llvm.UndefOp():
                return "undef"
            case llvm.AddressOfOp():
                return f"@{value.owner.global_name.root_reference.data}"
            case Operation() if value.owner.name == "llvm_extra.poison":
                return "poison"
        return f"%{self._names[value]}"

    def typed(self, value: SSAValue) -> str:
        """`type operand`."""
        return f"{text_type(value.type)} {self.ref(value)}"

    def line(self, text: str, result: SSAValue | None = None) -> None:
        """Append one instruction, assigned to `result` when given."""
        self.lines.append(f"  %{self._names[result]} = {text}" if result is not None else f"  {text}")

    def temporary(self, text: str, hint: str) -> str:
        """Append one instruction assigned to a new name; returns `%name`."""
        name = self.fresh(hint)
        self.lines.append(f"  %{name} = {text}")
        return f"%{name}"

    def name(self, value: SSAValue) -> str:
        """The name of a value, without the percent sign."""
        return self._names[value]

    def intrinsic(
        self, name: str, operands: list[tuple[str, str]], result: str, overload: str = "", flags: str = ""
    ) -> str:
        """The text of a call of a whitelisted intrinsic, which is declared; operands are (type, operand text)."""
        signature = INTRINSICS[name]
        full = f"{name}.{overload}{signature.suffix}" if signature.overloaded else name
        self.module.declare(signature, full, result, (t.split(" align ")[0] for t, _ in operands))
        arguments = ", ".join(f"{t} {v}" for t, v in operands)
        return f"call {flags}{result} @{full}({arguments})"

    def _note_edges(self, block: Block) -> None:
        last = block.last_op
        match last:
            case llvm.BrOp():
                self._incoming[last.successor].append((self.blocks[block], tuple(last.arguments)))
            case llvm.CondBrOp():
                if last.then_block is last.else_block:
                    raise InternalError(
                        "llvm.cond_br: both ways lead to the same block", hint="use arith.select and a plain branch"
                    )
                self._incoming[last.then_block].append((self.blocks[block], tuple(last.then_arguments)))
                self._incoming[last.else_block].append((self.blocks[block], tuple(last.else_arguments)))

    def emit(self, emitters: dict[str, Emitter]) -> None:
        """All blocks."""
        for i, (block, label) in enumerate(self.blocks.items()):
            self.lines.append(f"{label}:")
            for k, arg in enumerate(block.args if i else ()):
                edges = ", ".join(f"[ {self.ref(values[k])}, %{source} ]" for source, values in self._incoming[block])
                self.line(f"phi {text_type(arg.type)} {edges}", arg)
            for op in block.ops:
                emit_op(self, op, emitters)


def emit_op(f: FunctionText, op: Operation, emitters: dict[str, Emitter]) -> None:
    """One op by the table; an op without an entry is our fault and named."""
    emitter = emitters.get(op.name)
    if emitter is None:
        raise InternalError(f"{op.name} has no translation to LLVM text", where=" + ".join(names_of(op)))
    emitter(f, op)


def translate(module: ModuleOp, target: Target) -> str:
    """The LLVM text of all functions and globals of `module` for `target`."""
    from stepwell.codegen.llvm_text_ops import EMITTERS  # the table needs this module's classes

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
