"""Branches as they are meant: what only one of them needs stands in it, and conditions that several values were chosen by are one graph.if."""

from __future__ import annotations

from collections.abc import Iterable

from xdsl.ir import Block, Operation, Region, SSAValue

from stepwell.dialects import graph
from stepwell.ir.locations import location_of, names_of

_OUTSIDE = (graph.WeightOp,)
"""Ops that stay where they are: the plan's constants."""


def settle(block: Block) -> None:
    """Join branches by one condition, move what is needed in one of them only into it, and take out what nothing needs, in the block and the regions in it."""
    _join(block)
    for op in list(block.ops):
        if isinstance(op, graph.IfOp):
            _sink(op)
    _clean(block)
    for op in list(block.ops):
        for region in op.regions:
            settle(region.block)


def erase(block: Block) -> None:
    """Take all ops out of a block."""
    for op in reversed(list(block.ops)):
        op.detach()
        op.erase(safe_erase=False)


def _clean(block: Block) -> None:
    for op in reversed(list(block.ops)):
        if op.results and not any(result.first_use for result in op.results) and block.parent_op() is not None:
            block.erase_op(op)


def _join(block: Block) -> None:
    """Of two branches by one condition, the second gives its values in the first, before which all is moved that these need, where that does not need the first."""
    first: dict[SSAValue, graph.IfOp] = {}
    for op in list(block.ops):
        if not isinstance(op, graph.IfOp):
            continue
        before = first.setdefault(op.condition, op)
        if before is op or not _is_plain(op) or not _is_plain(before):
            continue
        needed = _needed_behind(op, before)
        if before in needed:
            continue
        for other in needed:
            other.detach()
            block.insert_op_before(other, before)
        first[op.condition] = _united(before, op)


def _is_plain(op: graph.IfOp) -> bool:
    return all(isinstance(region.block.first_op, graph.YieldOp) for region in op.regions)


def _needed_behind(op: graph.IfOp, before: graph.IfOp) -> list[Operation]:
    """What the values of a branch hang on, from `before` on, in order."""
    wanted = _captured(op.regions)
    found = list[Operation]()
    current = op.prev_op
    while current is not None:
        if any(result in wanted for result in current.results):
            found.append(current)
            wanted |= {*current.operands, *_captured(current.regions)}
        if current is before:
            break
        current = current.prev_op
    return found[::-1]


def _united(before: graph.IfOp, op: graph.IfOp) -> graph.IfOp:
    """One branch with the values of both, in place of the first."""
    regions = []
    for one, other in zip(before.regions, op.regions, strict=True):
        end = graph.YieldOp(*_yielded(one), *_yielded(other))
        end.location = before.location
        regions.append(Region(Block([end])))
    types = [*(r.type for r in before.results), *(r.type for r in op.results)]
    made = graph.IfOp(before.condition, types, *regions)
    made.location = location_of(sorted({*names_of(before), *names_of(op)}))
    block = before.parent
    assert block is not None
    block.insert_op_before(made, before)
    for old, new in zip([*before.results, *op.results], made.results, strict=True):
        new.name_hint = old.name_hint
        old.replace_all_uses_with(new)
    block.erase_op(op)
    block.erase_op(before)
    return made


def _yielded(region: Region) -> list[SSAValue]:
    end = region.block.last_op
    assert end is not None
    return list(end.operands)


def _captured(regions: Iterable[Region]) -> set[SSAValue]:
    return {operand for region in regions for op in region.walk() for operand in op.operands}


def _sink(branch: graph.IfOp) -> None:
    """Move ops into the only region that needs them, the last first, so that what they need can follow."""
    block = branch.parent
    op = branch.prev_op
    while op is not None:
        before = op.prev_op
        region = None if isinstance(op, _OUTSIDE) else _only_user(op, branch)
        if region is not None:
            first = region.block.first_op
            assert first is not None
            op.detach()
            region.block.insert_op_before(op, first)
        op = before
    assert block is branch.parent


def _only_user(op: Operation, branch: graph.IfOp) -> Region | None:
    """The region of a branch that has all uses of an op."""
    found: set[Region] = set()
    for result in op.results:
        for use in result.uses:
            region = _region_in(use.operation, branch)
            if region is None:
                return None
            found.add(region)
    return found.pop() if len(found) == 1 else None


def _region_in(op: Operation, branch: graph.IfOp) -> Region | None:
    """The region of a branch that an op stands in, at any depth."""
    region = op.parent_region()
    while region is not None and region.parent is not branch:
        outer = region.parent
        region = outer.parent_region() if outer is not None else None
    return region
