"""The ops of a fusion's body as work that can be dealt out: what reads what, and a part of them as a fusion of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xdsl.dialects import arith, tensor
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Block, BlockArgument, Operation, Region, SSAValue

from stepwell.dialects import graph
from stepwell.passes import fuse_locations
from stepwell.transforms.linalg._maps import is_copy, tensors_read, through_reshapes

FREE = (arith.ConstantOp, tensor.EmptyOp, tensor.PadOp, linalg.FillOp, tensor.ExpandShapeOp, tensor.CollapseShapeOp)
"""Ops that cost nothing in the kernel that reads them: each part has its own."""


class Body:
    """The body of one fusion. `work`: the ops that compute, in order; all others go with those that read them."""

    def __init__(self, fusion: graph.FusionOp) -> None:
        self.fusion = fusion
        self.results = tuple(fusion.terminator.values)
        made = {through_reshapes(value).owner for value in self.results}
        ops = [op for op in fusion.body.block.ops if not isinstance(op, graph.YieldOp)]
        self.work = [op for op in ops if op in made or not self._is_free(op)]
        self._working = set(self.work)

    @staticmethod
    def _is_free(op: Operation) -> bool:
        return isinstance(op, FREE) or (isinstance(op, linalg.GenericOp) and is_copy(op))

    def makes(self, value: SSAValue) -> bool:
        """Whether an op of `work` makes a value, reshapes aside."""
        return through_reshapes(value).owner in self._working

    def sources(self, op: Operation) -> list[Operation]:
        """The ops of `work` that one of them reads, each once."""
        found: dict[Operation, None] = {}
        waiting = list(tensors_read(op))
        while waiting:
            owner = waiting.pop().owner
            if not isinstance(owner, Operation):
                continue
            if owner in self._working:
                found[owner] = None
            else:
                waiting += tensors_read(owner)
        return list(found)

    def outputs(self, part: Sequence[Operation]) -> list[SSAValue]:
        """What others read of a part, and what it has of the fusion's results."""
        inside = set(part)
        read = {source for op in self.work if op not in inside for source in self.sources(op)}
        kept = [result for op in part if op in read for result in op.results]
        return [
            *kept,
            *(v for v in dict.fromkeys(self.results) if through_reshapes(v).owner in inside and v not in kept),
        ]

    def fusion_of(self, part: Sequence[Operation], values: Mapping[SSAValue, SSAValue], name: str) -> graph.FusionOp:
        """A fusion of some of the ops, not yet in a block. `values`: the host's value for what earlier parts made."""
        outputs = self.outputs(part)
        ops, leaves = self._needed(part, outputs)
        block = Block(arg_types=[leaf.type for leaf in leaves])
        mapping: dict[SSAValue, SSAValue] = dict(zip(leaves, block.args, strict=True))
        inputs = [
            self.fusion.inputs[leaf.index] if isinstance(leaf, BlockArgument) else values[leaf] for leaf in leaves
        ]
        block.add_ops([op.clone(mapping) for op in ops])
        end = graph.YieldOp(*(mapping[value] for value in outputs))
        block.add_op(end)
        made = graph.FusionOp(name, inputs, [value.type for value in outputs], Region(block))
        made.location = end.location = fuse_locations(part)
        return made

    def _needed(self, part: Sequence[Operation], outputs: Sequence[SSAValue]) -> tuple[list[Operation], list[SSAValue]]:
        """The ops of a part with what costs nothing before and behind them, in order; and the tensors that come from outside."""
        inside = set(part)
        needed: dict[Operation, None] = {}
        leaves: dict[SSAValue, None] = {}
        waiting = [*outputs, *(value for op in part for value in _all_read(op))]
        while waiting:
            value = waiting.pop()
            owner = value.owner
            if not isinstance(owner, Operation) or (owner in self._working and owner not in inside):
                leaves[value] = None
                continue
            if owner not in needed:
                needed[owner] = None
                waiting += _all_read(owner)
        ops = [op for op in self.fusion.body.block.ops if op in needed or op in inside]
        return ops, [value for value in self._in_order() if value in leaves]

    def _in_order(self) -> Iterator[SSAValue]:
        yield from self.fusion.body.block.args
        for op in self.work:
            yield from op.results


def _all_read(op: Operation) -> list[SSAValue]:
    """Everything from outside that an op and its regions name, scalars and shapes included."""
    inside = {result for inner in op.walk() for result in inner.results}
    inside |= {arg for region in op.regions for block in region.blocks for arg in block.args}
    return list(dict.fromkeys(value for inner in op.walk() for value in inner.operands if value not in inside))
