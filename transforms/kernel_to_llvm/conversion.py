"""The protocol of `stepwell-convert-kernel-to-llvm`: one function per op class, collected in tables.

A module that converts a dialect offers two tables, which the pass merges:

    CONVERSIONS: ConversionTable = {warp.ThreadIdOp: convert_thread_id, warp.KernelOp: convert_kernel, ...}
    TYPES: TypeTable = {warp.GlobalType: lambda conv, t: llvm.LLVMPointerType(IntAttr(1))}

A converter is `def convert_x(conv: LLVMConversion, op: XOp) -> None`. It reads converted operands by `conv.value(op.operand)`, inserts
llvm-dialect ops by `conv.insert(...)` and says what an old result became by `conv.bind(op.result, new_value)`:

    def convert_thread_id(conv, op):
        conv.bind(op.result, conv.intrinsic("llvm.nvvm.read.ptx.sreg.tid.x", [], i32))

    def convert_mma(conv, op):                                    # a fragment stays one vector value
        conv.bind(op.result, conv.asm(TEXT, CONSTRAINTS, conv.values([op.acc, op.a, op.b]), op.result.type))

    def convert_kernel(conv, op):                                 # ops that stand in the module: make a function
        conv.function(op.sym_name.data, op.body, attributes={"nvvm.kernel": UnitAttr(), "nvvm.maxntid": ...}, arguments=[...])

Locations: everything inserted while an op is converted gets that op's location. Types: `index` becomes i64, vectors stay vectors (rank 1;
a higher rank must have been unrolled before), what is not in a table must be legal in LLVM. Control flow: successors through `conv.block(old)`;
a converter that needs blocks of its own makes them by `conv.new_block(types)` and goes on in one by `conv.continue_in(block)`; an op with a
region places the region's blocks by `conv.inline_region(region, arguments)`, whose terminator is converted by its own table entry. An op
without a converter is an error that names it; ops of the llvm dialects are copied.

Inline assembly: `asm` takes LLVM's own string and constraints, written for *taken apart* operands. A vector operand or result counts as its
pieces in order: one per element of 32 bits or wider, one per 32 bits (`<2 x half>`, `<4 x i8>`) of narrower elements. So a `vector<32xf32>`
accumulator is written as 32 outputs `=f` and 32 tied inputs `0`..`31`. A struct result is the pieces of its fields in order. Only the
translator (`stepwell.codegen.llvm_text`) takes vectors apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    AnyFloat,
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    DictionaryAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    UnknownLoc,
    VectorType,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.rewriter import Rewriter

from stepwell.codegen.intrinsics import check_name
from stepwell.passes import PassFailure

OpT = TypeVar("OpT", bound=Operation)
Converter = Callable[["LLVMConversion", Any], None]
TypeConverter = Callable[["LLVMConversion", Any], Attribute]
ConversionTable = Mapping[type[Operation], Converter]
TypeTable = Mapping[type[Attribute], TypeConverter]

COPIED_DIALECTS = ("llvm", "llvm_extra")


def error_at(op: Operation, message: str, hint: str = "") -> PassFailure:
    """A refusal that names the op and its source nodes."""
    return PassFailure(f"{op.name}: {message}", op=op, hint=hint)


class LLVMConversion:
    """The state of one conversion: tables, value and block maps, and the insertion point. `top` receives what stands in the module."""

    def __init__(self, converters: ConversionTable, types: TypeTable) -> None:
        self.converters, self.types = converters, types
        self.top: list[Operation] = []
        self._values: dict[SSAValue, SSAValue] = {}
        self._blocks: dict[Block, Block] = {}
        self._current: Block | None = None
        self._constants: dict[tuple[Block, Attribute, Attribute], SSAValue] = {}
        self._op: Operation | None = None

    # --- what converters read

    def type(self, old: Attribute) -> Attribute:
        """The LLVM type that stands for `old`."""
        if converter := self.types.get(type(old)):
            return converter(self, old)
        if isinstance(old, IndexType):
            return i64
        if isinstance(old, VectorType):
            if old.get_num_dims() != 1:
                raise self.error(
                    f"a vector of rank {old.get_num_dims()} has no LLVM type: {old}",
                    "unroll it to vectors of rank 1 first",
                )
            return VectorType(self.type(old.element_type), old.get_shape())
        if not llvm.is_compatible_type(old) and not isinstance(old, llvm.LLVMVoidType):
            raise self.error(
                f"type {old} has no LLVM counterpart",
                "register it in the TYPES table of its dialect's conversion module",
            )
        return old

    def value(self, old: SSAValue) -> SSAValue:
        """What `old` became."""
        try:
            return self._values[old]
        except KeyError:
            raise self.error(
                "an operand was not converted before its use (the blocks are not in dominance order)"
            ) from None

    def values(self, old: Sequence[SSAValue]) -> list[SSAValue]:
        """`value` of each."""
        return [self.value(v) for v in old]

    def block(self, old: Block) -> Block:
        """The block that stands for the successor `old`."""
        return self._blocks[old]

    def error(self, message: str, hint: str = "") -> PassFailure:
        """A refusal about the op that is being converted."""
        return PassFailure(message, hint=hint) if self._op is None else error_at(self._op, message, hint)

    # --- what converters say

    def bind(self, old: SSAValue, new: SSAValue | Operation) -> None:
        """`old` became `new`, and hands its name on."""
        value = SSAValue.get(new)
        self._values[old] = value
        if old.name_hint and value.name_hint is None:
            value.name_hint = old.name_hint

    def insert(self, op: OpT) -> OpT:
        """Append `op` to the current block; it gets the location of the op being converted unless it has one."""
        if self._op is not None and isinstance(op.location, UnknownLoc):
            op.location = self._op.location
        if self._current is None:
            self.top.append(op)
        else:
            self._current.add_op(op)
        return op

    def constant(self, value: float, of: Attribute = i64) -> SSAValue:
        """A constant of an integer, float or (splat) vector type; equal constants of one block are made once."""
        scalar = of.element_type if isinstance(of, VectorType) else of
        attr: Attribute = (
            IntegerAttr(int(value), scalar)
            if isinstance(scalar, IntegerType)
            else FloatAttr(float(value), cast(AnyFloat, scalar))
        )
        if isinstance(of, VectorType):
            attr = DenseIntOrFPElementsAttr.from_list(of, [value])
        assert self._current is not None
        key = (self._current, attr, of)
        if key not in self._constants:
            self._constants[key] = self.insert(llvm.ConstantOp(attr, of)).result
        return self._constants[key]

    def intrinsic(self, name: str, arguments: Sequence[SSAValue], result: Attribute, fastmath: str = "") -> SSAValue:
        """The value of a whitelisted intrinsic (base name, no type suffix; flags as in LLVM, by blanks); an unknown name is an error."""
        check_name(name)
        call = llvm.CallIntrinsicOp(name, list(arguments), [result])
        if fastmath:
            call.properties["fastmathFlags"] = llvm.FastMathAttr(tuple(llvm.FastMathFlag(f) for f in fastmath.split()))
        return self.insert(call).results[0]

    def effect(self, name: str, arguments: Sequence[SSAValue] = ()) -> None:
        """Call a whitelisted intrinsic without a result."""
        check_name(name)
        self.insert(llvm.CallIntrinsicOp(name, list(arguments), []))

    def asm(
        self,
        text: str,
        constraints: str,
        operands: Sequence[SSAValue],
        result: Attribute | None = None,
        *,
        side_effects: bool = True,
    ) -> SSAValue | None:
        """One inline-asm op (see the module docstring for vectors); the result value when `result` is given."""
        types = [] if result is None else [result]
        return self.insert(llvm.InlineAsmOp(text, constraints, operands, types, has_side_effects=side_effects)).res

    # --- control flow

    def new_block(self, types: Sequence[Attribute] = ()) -> Block:
        """A new block after the current one in the function (types already LLVM's)."""
        block = Block(arg_types=types)
        self._insert_block(block)
        return block

    def continue_in(self, block: Block) -> None:
        """Further ops go to the end of `block`."""
        self._current = block

    def branch(self, target: Block, *arguments: SSAValue) -> None:
        """Jump to `target`."""
        self.insert(llvm.BrOp(target, *arguments))

    def branch_if(self, condition: SSAValue, then: Block, otherwise: Block) -> None:
        """Jump by an i1."""
        self.insert(llvm.CondBrOp(condition, then, (), otherwise, ()))

    def inline_region(self, region: Region, arguments: Sequence[SSAValue] = ()) -> None:
        """Convert the region's blocks here: the entry block's ops go to the current block with `arguments` for its arguments, further blocks
        follow. Afterwards the insertion point is the end of the last block; the converter of the region's terminator says how it goes on."""
        blocks = list(region.blocks)
        for argument, value in zip(blocks[0].args, arguments, strict=True):
            self.bind(argument, value)
        made = [self._declare_block(old) for old in blocks[1:]]
        self._convert_block(blocks[0])
        for old, new_block in zip(blocks[1:], made, strict=True):
            self._insert_block(new_block)
            self.continue_in(new_block)
            self._convert_block(old)

    def function(
        self,
        name: str,
        body: Region,
        *,
        arguments: Sequence[Attribute] | None = None,
        argument_attributes: Sequence[Mapping[str, Attribute]] | None = None,
        result: Attribute | None = None,
        linkage: str = "external",
        attributes: Mapping[str, Attribute] | None = None,
        properties: Mapping[str, Attribute] | None = None,
    ) -> llvm.FuncOp:
        """Make an llvm.func whose body is `body` converted. `arguments`: LLVM types (default: the converted types of the entry block);
        `argument_attributes`: MLIR's names (`llvm.byval`, `llvm.align`, `nvvm.grid_constant`, `llvm.noalias`, `llvm.readonly`);
        `attributes`: `nvvm.kernel`, `nvvm.maxntid`, `nvvm.minctasm`, `passthrough`; see `stepwell.codegen.llvm_text`."""
        inputs = list(arguments) if arguments is not None else [self.type(arg.type) for arg in body.blocks[0].args]
        made = [
            Block(arg_types=inputs if i == 0 else [self.type(a.type) for a in old.args])
            for i, old in enumerate(body.blocks)
        ]
        props: dict[str, Attribute | None] = dict(properties or {})
        if argument_attributes is not None:
            props["arg_attrs"] = ArrayAttr([DictionaryAttr(dict(a)) for a in argument_attributes])
        own = (
            llvm.FuncOp.get_irdl_definition().properties
        )  # what stands among the attributes would not survive generic syntax
        given = dict(attributes or {})
        props |= {key: value for key, value in given.items() if key in own}
        func = llvm.FuncOp(
            name,
            llvm.LLVMFunctionType(inputs, result),
            llvm.LinkageAttr(linkage),
            body=Region(made),
            other_props=props,
            extra_attrs={key: value for key, value in given.items() if key not in own},
        )
        outer = self._current
        self._current = None
        self.insert(func)
        for old, new in zip(body.blocks, made, strict=True):
            self._blocks[old] = new
            for old_arg, new_arg in zip(old.args, new.args, strict=True):
                self.bind(old_arg, new_arg)
        for old, new in zip(body.blocks, made, strict=True):
            self._current = new
            self._convert_block(old)
        self._current = outer
        return func

    # --- driving

    def convert(self, op: Operation) -> None:
        """Convert one op by its table entry, or copy it when it is an llvm op already."""
        outer, self._op = self._op, op
        if converter := self.converters.get(type(op)):
            converter(self, op)
        elif op.name.split(".")[0] in COPIED_DIALECTS:
            self._copy(op)
        else:
            raise self.error(
                "has no conversion to the llvm dialect", "add a function for it to the CONVERSIONS table of its dialect"
            )
        self._op = outer

    def _copy(self, op: Operation) -> None:
        copy = op.clone({old: self.value(old) for old in op.operands}, {old: self.block(old) for old in op.successors})
        if "elem_type" in copy.properties:
            copy.properties["elem_type"] = self._element(copy.properties["elem_type"])
        self.insert(copy)
        for old, new in zip(op.results, list(copy.results), strict=True):
            of = self.type(old.type)
            self.bind(old, new if new.type == of else Rewriter.replace_value_with_new_type(new, of))

    def _element(self, of: Attribute) -> Attribute:
        """What an address counts, or what memory is made for."""
        return llvm.LLVMArrayType(of.size, self.type(of.type)) if isinstance(of, llvm.LLVMArrayType) else self.type(of)

    def _convert_block(self, block: Block) -> None:
        for op in block.ops:
            self.convert(op)

    def _declare_block(self, old: Block) -> Block:
        new = Block(arg_types=[self.type(a.type) for a in old.args])
        self._blocks[old] = new
        for old_arg, new_arg in zip(old.args, new.args, strict=True):
            self.bind(old_arg, new_arg)
        return new

    def _insert_block(self, block: Block) -> None:
        assert self._current is not None
        region = self._current.parent_region()
        assert region is not None
        region.insert_block_after(block, self._current)
