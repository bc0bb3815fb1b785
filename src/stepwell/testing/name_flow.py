"""Whether new ops carry the source names of what they stand among: two rules on the flow of values, for levels where values are SSA.

- Together: the ops of one source name stay together. A path that leaves them through ops of other names does not come back, unless it did before
  the pass, or the op that it comes back to carries a name too that it has not left (an op that moved past another may be called after both).
- Related: a new op is among its own. Some value that it reads, or some op that reads its values, comes in the module before the pass from a node that
  one of its names depends on, or the other way round.

An insertion that is called after the first op that a pass matched breaks the first rule in a chain and the second one in another branch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from stepwell.ir.locations import names_of, op_name

Names = int
"""A set of source names, one bit each: paths through long networks pass thousands."""
Index = dict[str, int]


@dataclass
class Flow:
    """The ops of a module that hold no region, with those that each reads from, in an order in which every op comes behind what it reads."""

    index: Index
    reads: dict[Operation, list[Operation]] = field(default_factory=dict)
    names: dict[Operation, Names] = field(default_factory=dict)

    def add(self, op: Operation, sources: Iterable[Operation]) -> None:
        """Enter an op that reads from `sources`."""
        self.reads[op] = [source for source in dict.fromkeys(sources) if source in self.reads]
        self.names[op] = _union(1 << self.index.setdefault(name, len(self.index)) for name in names_of(op))


def _union(parts: Iterable[Names]) -> Names:
    found = 0
    for part in parts:
        found |= part
    return found


def _bits(names: Names) -> Iterator[Names]:
    while names:
        lowest = names & -names
        yield lowest
        names ^= lowest


def flow_of(module: ModuleOp, index: Index | None = None) -> Flow:
    """The flow of values; the arguments of a region that takes as many as its op has operands stand for those. Flows that are compared share
    an `index`."""
    flow = Flow({} if index is None else index)
    for op in _leaves(module):
        flow.add(op, (source for operand in op.operands for source in _sources(operand)))
    return flow


def _leaves(op: Operation) -> Iterator[Operation]:
    for region in op.regions:
        for block in region.blocks:
            for inner in block.ops:
                if inner.regions:
                    yield from _leaves(inner)
                else:
                    yield inner


def _sources(value: SSAValue) -> Iterable[Operation]:
    """The ops without regions that a value comes from."""
    owner = value.owner
    if isinstance(value, BlockArgument):
        yield from _argument_sources(value)
    elif isinstance(owner, Operation) and owner.regions:
        ends = [block.last_op for region in owner.regions for block in region.blocks if block.last_op is not None]
        yield from (source for end in ends for operand in end.operands for source in _sources(operand))
    elif isinstance(owner, Operation):
        yield owner


def _argument_sources(value: BlockArgument) -> Iterable[Operation]:
    block: Block = value.block
    around = block.parent_op()
    if around is not None and len(around.operands) == len(block.args):
        yield from _sources(around.operands[value.index])


def scattered(flow: Flow) -> dict[Operation, Names]:
    """The ops all of whose names were left by a path that comes back in them, with those names: rule one."""
    left: dict[Operation, Names] = {}
    found: dict[Operation, Names] = {}
    for op, sources in flow.reads.items():
        own = flow.names[op]
        outside = -1 if own else 0  # an op without names stands for whatever is around it
        left[op] = _union(left[source] | (flow.names[source] & ~own & outside) for source in sources)
        if own and not own & ~left[op]:
            found[op] = own
    return found


def dependencies(flow: Flow) -> dict[Names, Names]:
    """Each name, with every name that its ops depend on, itself too."""
    above: dict[Operation, Names] = {}
    found: dict[Names, Names] = defaultdict(int)
    for op, sources in flow.reads.items():
        above[op] = flow.names[op] | _union(above[source] for source in sources)
        for name in _bits(flow.names[op]):
            found[name] |= above[op]
    return found


def misplaced(before: Flow, after: Flow, old: Callable[[Operation], bool]) -> list[str]:
    """What breaks one of the rules: each as the op with its names. `old` says which ops of `after` the pass found there."""
    apart = _union(scattered(after).values()) & ~_union(scattered(before).values())
    wrong = {op for op in scattered(after) if after.names[op] & apart and not old(op)}
    if not wrong:  # what the pass found there was left by what it put before it
        wrong = {op for op, names in after.names.items() if names & apart and not old(op)}
    wrong |= set(_unrelated(before, after, old))
    return [f"{op_name(op)} ({' + '.join(names_of(op))})" for op in after.reads if op in wrong]


def _unrelated(before: Flow, after: Flow, old: Callable[[Operation], bool]) -> Iterator[Operation]:
    known = dependencies(before)
    neighbours: dict[Operation, list[Operation]] = defaultdict(list)
    for op, sources in after.reads.items():
        for source in sources:
            neighbours[op].append(source)
            neighbours[source].append(op)
    for op, own in after.names.items():
        around = {after.names[other] for other in neighbours[op]} - {0, own}
        if own and around and not old(op) and not any(_related(own, names, known) for names in around):
            yield op


def _related(these: Names, those: Names, known: dict[Names, Names]) -> bool:
    """Whether a name of one set depends on one of the other."""
    upward = any(known.get(name, 0) & those for name in _bits(these))
    return upward or any(known.get(name, 0) & these for name in _bits(those))
