"""`check_op`: an op that brings its own interpreter, held to its reference."""

from __future__ import annotations

from io import StringIO

import numpy as np
from numpy.typing import ArrayLike
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Block, Operation, Region
from xdsl.printer import Printer

from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.dialects.op_interfaces import AtLevels, Interpreted, Reference, run_by_trait
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes.levels import check_level, levels_of_op, set_level
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import UsageError


def check_op(op: Operation, *inputs: ArrayLike, ulps: float = 2.0) -> tuple[Array, ...]:
    """Check an op (its operands may come from anywhere, they only say the types) and return what its interpreter gives for `inputs`. AssertionError for
    the first that does not hold: it verifies, it may stand at the levels that it names, its text survives a round trip in both syntaxes where its dialect
    is installed, its interpreter gives its result types, and what its reference gives in float64 within `ulps` units in the last place (integers: exactly).
    UsageError for an op without an interpreter, a reference or a level."""
    for trait in (AtLevels, Interpreted, Reference):
        if op.get_trait(trait) is None:
            raise UsageError(f"the op has no trait {trait.__name__}", where=op.name, hint="see stepwell.plugins")
    module = _module(op)
    module.verify()
    for level in levels_of_op(op):
        set_level(module, level)
        check_level(module, level)
    _check_round_trip(module, op)
    types = [operand.type for operand in op.operands]
    arrays = [np.asarray(value, numpy_dtype(type)) for value, type in zip(inputs, types, strict=True)]
    given = run_by_trait(op, arrays)
    exact = run_by_trait(op, [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays], float64=True)
    assert given is not None and exact is not None
    for position, (result, wanted) in enumerate(zip(given, exact, strict=True)):
        _check_close(op, position, result, wanted, ulps)
    return given


def _module(op: Operation) -> ModuleOp:
    """A network of the op alone."""
    types = [operand.type for operand in op.operands]
    block = Block(arg_types=types)
    copy = op.clone(dict(zip(op.operands, block.args, strict=True)))
    block.add_ops([copy, func.ReturnOp(*copy.results)])
    return ModuleOp([func.FuncOp("main", (types, [result.type for result in op.results]), Region(block))])


def _check_round_trip(module: ModuleOp, op: Operation) -> None:
    ctx = make_context()
    if ctx.get_optional_op(op.name) is None:
        return
    for generic in (False, True):
        text = _text(module, generic)
        again = _text(parse_text(ctx, text, SourceMap(op.name)), generic)
        assert again == text, f"{op.name}: text does not survive a round trip:\n{text}became\n{again}"


def _text(module: ModuleOp, generic: bool) -> str:
    stream = StringIO()
    Printer(stream, print_generic_format=generic).print_op(module)
    return stream.getvalue() + "\n"


def _check_close(op: Operation, position: int, given: Array, exact: Array, ulps: float) -> None:
    type = op.results[position].type
    assert isinstance(type, TensorType)
    rounded = exact.astype(given.dtype)
    if given.dtype.kind != "f":
        same = np.array_equal(given, rounded)
        assert same, f"{op.name}: result {position} is not its reference: {given.tolist()}, {exact.tolist()}"
        return
    assert np.array_equal(np.isfinite(given), np.isfinite(rounded)), f"{op.name}: NaN or infinity at other places"
    finite = np.isfinite(given)
    unit = np.spacing(np.abs(rounded[finite])).astype(np.float64)
    off = np.abs(given[finite].astype(np.float64) - exact[finite]) / unit
    worst = float(off.max()) if off.size else 0.0
    assert worst <= ulps, (
        f"{op.name}: result {position} is {worst:.3g} units in the last place off, allowed are {ulps:g}"
    )
