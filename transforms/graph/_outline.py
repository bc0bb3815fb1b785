"""Outlining: a list of ops becomes the body of one graph.fusion that stands where the last of them stood."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from stepwell.dialects import graph
from stepwell.passes import Rewriter, fuse_locations, names_of
from stepwell.transforms.graph._values import is_dead

Feeding = graph.BroadcastOp | graph.ConstantOp
"""What goes into each fusion that reads it."""


def outline(ops: Sequence[Operation], rewriter: Rewriter, root: Operation) -> graph.FusionOp:
    """Move `ops` (in program order) into a new fusion named after `root` and return it.

    Broadcasts and constants that feed them go in too. Every value from outside becomes an operand once, every result used outside a result."""
    group = _with_feeders(ops)
    inside = set(group)
    inputs = list(dict.fromkeys(value for op in ops for value in _reads(op, inside)))
    outputs = [r for op in ops for r in op.results if any(use.operation not in inside for use in r.uses)]
    block = Block(arg_types=[value.type for value in inputs])
    values: dict[SSAValue, SSAValue] = dict(zip(inputs, block.args, strict=True))
    for value, argument in zip(inputs, block.args, strict=True):
        argument.name_hint = value.name_hint
    block.add_ops([op.clone(values) for op in group])
    terminator = graph.YieldOp(*[values[output] for output in outputs])
    block.add_op(terminator)
    fusion = graph.FusionOp(
        unique_name(root, rewriter.once(taken_names)), inputs, [o.type for o in outputs], Region(block)
    )
    fusion.location = terminator.location = fuse_locations(ops)
    rewriter.xdsl.insert(fusion, InsertPoint.before(ops[-1]))
    for output, result in zip(outputs, fusion.outputs, strict=True):
        result.name_hint = output.name_hint
        rewriter.xdsl.replace_all_uses_with(output, result)
    for op in reversed(group):
        if is_dead(op):
            rewriter.erase(op)
    return fusion


def _reads(op: Operation, inside: set[Operation]) -> Iterator[SSAValue]:
    """The values from outside that `op` needs, those of broadcasts in the group where it uses them."""
    for operand in op.operands:
        if operand.owner not in inside:
            yield operand
        elif isinstance(operand.owner, Feeding):
            yield from _reads(operand.owner, inside)


def _with_feeders(ops: Sequence[Operation]) -> list[Operation]:
    """`ops` with what feeds them, in program order; a feeder that others use too is copied, not moved."""
    group: dict[Operation, None] = {}
    for op in ops:
        for feeder in _feeders(op):
            group.setdefault(feeder)
        group.setdefault(op)
    return list(group)


def _feeders(op: Operation) -> Iterator[Operation]:
    """The broadcasts and constants behind the operands of `op`, those that another reads first."""
    for operand in op.operands:
        if isinstance(operand.owner, Feeding):
            yield from _feeders(operand.owner)
            yield operand.owner


def taken_names(module: ModuleOp) -> dict[str, int]:
    """The names of the module's fusions and functions, each with the number that was last put behind it."""
    fusions = {op.fusion_name.data for op in module.walk() if isinstance(op, graph.FusionOp)}
    functions = {op.sym_name.data for op in module.walk() if isinstance(op, func.FuncOp)}
    return dict.fromkeys(sorted(fusions | functions), 0)


def unique_name(root: Operation, taken: dict[str, int]) -> str:
    """A name for a fusion, an identifier made of its root's source name that is not in `taken`, where it is entered."""
    source = next(iter(names_of(root)), root.name.removeprefix("graph."))
    base = re.sub(r"[^A-Za-z0-9_]", "_", source)
    base = base if base[:1].isalpha() else f"f_{base}"
    name = base
    while name in taken:
        taken[base] += 1
        name = f"{base}_{taken[base]}"
    taken[name] = 0
    return name
