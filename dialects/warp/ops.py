"""The kernel itself, and what a thread knows and does as one of a block: `warp.kernel`, identities, barriers, launch order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from xdsl.dialects.builtin import I32, IntegerAttr, IntegerType, StringAttr, SymbolNameConstraint, VectorType, i1, i32
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    VarConstraint,
    irdl_op_definition,
    lazy_traits_def,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import HasParent, IsolatedFromAbove, IsTerminator, Pure, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException

from stepwell.types.targets import SM_90A

MAX_SHARED = SM_90A.shared_bytes
"""Dynamic shared memory that one block may have on sm_90 (CUDA C++ Programming Guide, compute capabilities)."""
MAX_THREADS = SM_90A.max_threads
REGISTER_FILE = SM_90A.registers


@irdl_op_definition
class ReturnOp(IRDLOperation):
    """Ends a kernel; every thread gets here."""

    name = "warp.return"
    assembly_format = "attr-dict"
    traits = lazy_traits_def(lambda: (IsTerminator(), HasParent(KernelOp)))

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class KernelOp(IRDLOperation):
    """One GPU kernel: the body runs in every thread of every block.

    `threads` is the block size (a multiple of 32), `shared` the bytes of dynamic shared memory (its base is aligned to 1024 and
    contents are undefined at the start), `min_blocks` how many blocks must fit one multiprocessor, which caps registers per thread
    at 65536 / (threads * min_blocks). Arguments are `!warp.global`, `!hopper.tensor_map` and i32; the grid is one-dimensional."""

    name = "warp.kernel"
    sym_name = prop_def(SymbolNameConstraint())
    threads = prop_def(IntegerAttr[I32])
    shared = prop_def(IntegerAttr[I32])
    min_blocks = opt_prop_def(IntegerAttr[I32])
    body = region_def()
    traits = traits_def(SymbolOpInterface(), IsolatedFromAbove())

    def __init__(
        self,
        name: str,
        arg_types: Sequence[Attribute] | Region,
        threads: int,
        shared: int = 0,
        min_blocks: int | None = None,
    ) -> None:
        body = arg_types if isinstance(arg_types, Region) else Region(Block(arg_types=arg_types))
        properties: dict[str, Attribute | None] = {
            "sym_name": StringAttr(name),
            "threads": IntegerAttr(threads, i32),
            "shared": IntegerAttr(shared, i32),
            "min_blocks": None if min_blocks is None else IntegerAttr(min_blocks, i32),
        }
        super().__init__(properties=properties, regions=[body])

    @property
    def args(self) -> tuple[SSAValue, ...]:
        """The kernel's parameters."""
        return tuple(self.body.blocks[0].args)

    def verify_(self) -> None:
        threads, shared = self.threads.value.data, self.shared.value.data
        blocks = 1 if self.min_blocks is None else self.min_blocks.value.data
        name = f"warp.kernel @{self.sym_name.data}"
        if threads % 32 or not 32 <= threads <= MAX_THREADS:
            raise VerifyException(f"{name}: {threads} threads; give a multiple of 32 up to {MAX_THREADS}")
        if not 0 <= shared <= MAX_SHARED:
            raise VerifyException(
                f"{name}: {shared} bytes of shared memory exceed 227 KiB; use fewer stages or a smaller tile"
            )
        if blocks < 1 or threads * blocks > 2048:
            raise VerifyException(
                f"{name}: {blocks} blocks of {threads} threads do not fit one multiprocessor (2048 threads)"
            )

    @classmethod
    def parse(cls, parser: Parser) -> KernelOp:
        name = parser.parse_symbol_name().data
        args = parser.parse_comma_separated_list(parser.Delimiter.PAREN, lambda: _parse_located_argument(parser))
        parser.parse_keyword("threads")
        threads = parser.parse_integer()
        parser.parse_keyword("shared")
        shared = parser.parse_integer()
        min_blocks = parser.parse_integer() if parser.parse_optional_keyword("min_blocks") else None
        attributes = parser.parse_optional_attr_dict_with_keyword()
        op = cls(name, parser.parse_region(args), threads, shared, min_blocks)
        if attributes is not None:
            op.attributes |= attributes.data
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_symbol_name(self.sym_name.data)
        with printer.in_parens():
            printer.print_list(self.args, lambda arg: printer.print_block_argument(arg))  # type: ignore[arg-type]
        printer.print_string(f" threads {self.threads.value.data} shared {self.shared.value.data}")
        if self.min_blocks is not None:
            printer.print_string(f" min_blocks {self.min_blocks.value.data}")
        printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)


def _parse_located_argument(parser: Parser) -> Parser.Argument:
    """`%name : type` and, as `--print-debuginfo` prints it, its location."""
    argument = parser.parse_argument()
    argument.location = parser.parse_optional_location()
    return argument


class _Identity(IRDLOperation):
    """An i32 that the hardware knows."""

    result = result_def(I32)
    assembly_format = "attr-dict"
    traits = traits_def(Pure())

    def __init__(self) -> None:
        super().__init__(result_types=[i32])


@irdl_op_definition
class ThreadIdOp(_Identity):
    """This thread's number in its block, 0 .. threads - 1 (`%tid.x`); different in every lane."""

    name = "warp.thread_id"


@irdl_op_definition
class BlockIdOp(_Identity):
    """This block's number in the grid (`%ctaid.x`)."""

    name = "warp.block_id"


@irdl_op_definition
class GridDimOp(_Identity):
    """How many blocks the launch has (`%nctaid.x`)."""

    name = "warp.grid_dim"


@irdl_op_definition
class BarrierOp(IRDLOperation):
    """`bar.sync id, threads`: waits until `threads` threads of the block have come to barrier `id` (0 .. 15), and orders their
    accesses to shared and global memory. Every thread of a warp must execute it."""

    name = "warp.barrier"
    id = prop_def(IntegerAttr[I32])
    threads = prop_def(IntegerAttr[I32])
    assembly_format = "$id `threads` $threads attr-dict"

    def __init__(self, id: int, threads: int) -> None:
        super().__init__(properties={"id": IntegerAttr(id, i32), "threads": IntegerAttr(threads, i32)})

    def verify_(self) -> None:
        if not 0 <= self.id.value.data <= 15:
            raise VerifyException(f"warp.barrier: id {self.id.value.data}; a block has barriers 0 to 15")
        if self.threads.value.data % 32 or self.threads.value.data < 32:
            raise VerifyException(f"warp.barrier: {self.threads.value.data} threads; give a multiple of 32")


class _Meeting(IRDLOperation):
    """A named barrier whose number is computed."""

    id = operand_def(I32)
    threads = prop_def(IntegerAttr[I32])
    assembly_format = "$id `threads` $threads attr-dict"

    def __init__(self, id: SSAValue, threads: int) -> None:
        super().__init__(operands=[id], properties={"threads": IntegerAttr(threads, i32)})

    def verify_(self) -> None:
        if self.threads.value.data % 32 or self.threads.value.data < 32:
            raise VerifyException(f"{self.name}: {self.threads.value.data} threads; give a multiple of 32")


@irdl_op_definition
class BarrierAtOp(_Meeting):
    """As `warp.barrier`, at the barrier of number `id`, 0 .. 15, the same in all threads of a warp."""

    name = "warp.barrier_at"


@irdl_op_definition
class BarrierArriveOp(_Meeting):
    """`bar.arrive`: counts for barrier `id` as `warp.barrier_at` does, and goes on: who waits there is ordered after what the threads did before."""

    name = "warp.barrier_arrive"


@irdl_op_definition
class WaitPredecessorOp(IRDLOperation):
    """`griddepcontrol.wait`: returns when all kernels before this one in the stream have finished and their writes are visible.
    Before it a thread may touch constants only. Every kernel executes it in at least one thread of each block, and before a
    thread's first access to memory that a predecessor writes or reads."""

    name = "warp.wait_predecessor"
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class LaunchDependentsOp(IRDLOperation):
    """`griddepcontrol.launch_dependents`: the next kernel may start its blocks (it waits by itself for this one's end)."""

    name = "warp.launch_dependents"
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class DivideOp(IRDLOperation):
    """Quotient by a number known to the host: `n / d == (n * mul) >> shift` in 64 bits, for 0 <= n < 2**31 and the pair
    `stepwell.types.layouts.magic_number(d)`. `n` is an i32 or a vector of them; `mul` (as unsigned) and `shift` are i32."""

    name = "warp.divide"
    T: ClassVar = VarConstraint("T", AnyAttr())
    n = operand_def(T)
    mul = operand_def(I32)
    shift = operand_def(I32)
    result = result_def(T)
    assembly_format = "$n `by` `(` $mul `,` $shift `)` attr-dict `:` type($n)"
    traits = traits_def(Pure())

    def __init__(self, n: SSAValue, mul: SSAValue, shift: SSAValue) -> None:
        super().__init__(operands=[n, mul, shift], result_types=[n.type])

    def verify_(self) -> None:
        element = self.n.type.element_type if isinstance(self.n.type, VectorType) else self.n.type
        if not isinstance(element, IntegerType) or element.width.data != 32:
            raise VerifyException(f"warp.divide: cannot divide {self.n.type}; divide i32 or vectors of i32")


@irdl_op_definition
class WithinOp(IRDLOperation):
    """Which lanes of an index vector are in range: 0 <= n < bound, as i1 each. (arith.cmpi of xDSL compares scalars only.)"""

    name = "warp.within"
    n = operand_def(VectorType)
    bound = operand_def(I32)
    result = result_def(VectorType)
    assembly_format = "$n `below` $bound attr-dict `:` type($n) `->` type($result)"
    traits = traits_def(Pure())

    def __init__(self, n: SSAValue, bound: SSAValue) -> None:
        lanes = cast(VectorType[Attribute], n.type).get_shape()
        super().__init__(operands=[n, bound], result_types=[VectorType(i1, lanes)])

    def verify_(self) -> None:
        n, result = cast(VectorType[Attribute], self.n.type), self.result.type
        if n.element_type != i32 or result != VectorType(i1, n.get_shape()):
            raise VerifyException(f"warp.within: {n} -> {result}; it takes a vector of i32 and gives as many i1")
