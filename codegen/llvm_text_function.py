"""One function on its way to LLVM text: names of values and blocks, the lines so far, the intrinsics that its module declares."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from xdsl.dialects import llvm
from xdsl.ir import Block, Operation, SSAValue

from stepwell.codegen.intrinsics import INTRINSICS, Intrinsic
from stepwell.codegen.llvm_text_types import text_constant, text_type
from stepwell.ir.locations import names_of
from stepwell.runtime.errors import InternalError
from stepwell.types.targets import Target

Emitter = Callable[["FunctionText", Operation], None]


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
