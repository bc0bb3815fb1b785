"""Bodies of generics on unsigned integers: the conversions write them with types that have a sign, arith's integers have none.

    ^bb0(%p: ui8, %q: ui8):                  ^bb0(%p: ui8, %q: ui8):
      %m = arith.maxui %p, %q : ui8            %a = builtin.unrealized_conversion_cast %p : ui8 to i8
      linalg.yield %m : ui8             ->     %b = builtin.unrealized_conversion_cast %q : ui8 to i8
                                               %m = arith.maxui %a, %b : i8
                                               %r = builtin.unrealized_conversion_cast %m : i8 to ui8
                                               linalg.yield %r : ui8

Which op an unsigned integer takes is in the op by then. The tensors around keep their types, so the casts are all that later levels see."""

from __future__ import annotations

from xdsl.dialects import arith, memref
from xdsl.dialects.builtin import IntegerAttr, IntegerType, MemRefType, UnrealizedConversionCastOp
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.rewriter import Rewriter

from stepwell.dialects.numpy_types import UNSIGNED, signless, wrapped

RESIZING = (arith.ExtUIOp, arith.ExtSIOp, arith.TruncIOp)


def make_signless(block: Block) -> None:
    """Put casts where unsigned integers enter and leave the body of a generic, and take the sign from everything between."""
    ops = list(block.ops)
    for argument in block.args:
        if argument.type in UNSIGNED and argument.uses.get_length():
            _cast_uses(argument, block, ops[0])
    for op in ops:
        if isinstance(op, linalg.YieldOp):
            _cast_yielded(op, block)
        elif op.name.startswith(("arith.", "math.")):
            _retype(op)
        else:
            for result in op.results:
                if result.type in UNSIGNED:
                    _cast_uses(result, block, op.next_op)


def make_loops_signless(block: Block) -> None:
    """The same for the body of a `tile.parallel`: casts where elements are loaded and stored, no signs between, in loops and conditions too."""
    for op in [inner for outer in block.ops for inner in outer.walk()]:
        home = op.parent_block()
        assert home is not None
        if isinstance(op, memref.StoreOp):
            _cast_stored(op, home)
        elif isinstance(op, memref.LoadOp) and op.res.type in UNSIGNED:
            _cast_uses(op.res, home, op.next_op)
        elif op.name.startswith(("arith.", "math.", "scf.")):
            _retype(op)
        for argument in (argument for region in op.regions for inner in region.blocks for argument in inner.args):
            if argument.type in UNSIGNED:
                Rewriter.replace_value_with_new_type(argument, signless(argument.type))


def _cast_stored(op: memref.StoreOp, home: Block) -> None:
    assert isinstance(op.memref.type, MemRefType)
    wanted = op.memref.type.element_type
    if wanted in UNSIGNED:
        cast = UnrealizedConversionCastOp.get([op.value], [wanted])
        home.insert_op_before(cast, op)
        op.operands[0] = cast.results[0]


def _cast_uses(value: SSAValue, block: Block, before: Operation | None) -> None:
    assert before is not None
    cast = UnrealizedConversionCastOp.get([value], [signless(value.type)])
    value.replace_uses_with_if(cast.results[0], lambda use: use.operation is not cast)
    block.insert_op_before(cast, before)


def _cast_yielded(op: linalg.YieldOp, block: Block) -> None:
    for position, (value, wanted) in enumerate(zip(op.operands, _wanted(block, op), strict=True)):
        if value.type != wanted:
            cast = UnrealizedConversionCastOp.get([value], [wanted])
            block.insert_op_before(cast, op)
            op.operands[position] = cast.results[0]


def _wanted(block: Block, op: linalg.YieldOp) -> list[Attribute]:
    """The types of the outputs: those of the last arguments."""
    return [argument.type for argument in block.args[len(block.args) - len(op.operands) :]]


def _retype(op: Operation) -> None:
    if isinstance(op, RESIZING) and op.operands[0].type == signless(op.results[0].type):
        op.results[0].replace_all_uses_with(op.operands[0])
        op.detach()
        op.erase()
        return
    if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr) and op.result.type in UNSIGNED:
        kind = signless(op.result.type)
        assert isinstance(kind, IntegerType)
        op.properties["value"] = IntegerAttr(wrapped(op.value.value.data, kind.width.data), kind)
    for result in list(op.results):
        if result.type in UNSIGNED:
            Rewriter.replace_value_with_new_type(result, signless(result.type))
