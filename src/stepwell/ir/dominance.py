"""Whether every value is defined where it is used. xDSL's verifier does not ask, and LLVM refuses such a module only at the end of the ladder.

Dominators: Cooper, Harvey, Kennedy, A Simple, Fast Dominance Algorithm, 2001.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, Region, SSAValue


def misplaced_operands(module: ModuleOp) -> Iterator[tuple[Operation, int]]:
    """Each op with the index of an operand whose definition does not dominate it. Blocks that nothing reaches may use anything."""
    order = {op: position for position, op in enumerate(module.walk())}
    trees: dict[Region, _Dominators] = {}
    for op in order:
        for index, operand in enumerate(op.operands):
            if not _is_visible(operand, op, order, trees):
                yield op, index


def _is_visible(
    value: SSAValue, user: Operation, order: dict[Operation, int], trees: dict[Region, _Dominators]
) -> bool:
    owner = value.owner
    home = owner if isinstance(owner, Block) else owner.parent
    if home is None or home.parent is None:
        return False
    around = _ancestor_in(home.parent, user)
    if around is None or around.parent is None:
        return False
    if around.parent is home:
        return isinstance(owner, Block) or order.get(owner, len(order)) < order[around]
    if home.parent not in trees:
        trees[home.parent] = _Dominators(home.parent)
    return trees[home.parent].dominates(home, around.parent)


def _ancestor_in(region: Region, op: Operation) -> Operation | None:
    """`op`, or the op around it that stands in `region`."""
    found: Operation | None = op
    while found is not None and found.parent_region() is not region:
        found = found.parent_op()
    return found


class _Dominators:
    """The immediate dominators of a region's blocks that can be reached."""

    def __init__(self, region: Region) -> None:
        self.number = {block: position for position, block in enumerate(reversed(_postorder(region.blocks[0])))}
        blocks = list(self.number)
        before: dict[Block, list[Block]] = {block: [] for block in blocks}
        for block in blocks:
            for successor in _successors(block):
                before[successor].append(block)
        self.immediate = {blocks[0]: blocks[0]}
        changed = True
        while changed:
            changed = False
            for block in blocks[1:]:
                known = [other for other in before[block] if other in self.immediate]
                found = known[0]
                for other in known[1:]:
                    found = self._meet(found, other)
                changed |= self.immediate.get(block) is not found
                self.immediate[block] = found

    def _meet(self, one: Block, other: Block) -> Block:
        while one is not other:
            while self.number[one] > self.number[other]:
                one = self.immediate[one]
            while self.number[other] > self.number[one]:
                other = self.immediate[other]
        return one

    def dominates(self, block: Block, other: Block) -> bool:
        """Whether every way to `other` goes through `block`; true where no way leads to `other`."""
        if other not in self.number:
            return True
        while other is not block and self.immediate[other] is not other:
            other = self.immediate[other]
        return other is block


def _successors(block: Block) -> tuple[Block, ...]:
    return tuple(block.last_op.successors) if block.last_op is not None else ()


def _postorder(entry: Block) -> list[Block]:
    """The blocks that can be reached, each behind its successors; without recursion."""
    found: list[Block] = []
    seen, stack = {entry}, [(entry, iter(_successors(entry)))]
    while stack:
        block, left = stack[-1]
        following = next((s for s in left if s not in seen), None)
        if following is None:
            found.append(block)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(_successors(following))))
    return found
