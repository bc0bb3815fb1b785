"""A fusion with an attention: what it reads, converted to what its kernel multiplies on the way, and what it writes."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.transforms.linalg._structure import refuse
from stepwell.transforms.tensors import element_of


@dataclass(frozen=True)
class Read:
    """An operand of the attention: an argument of the fusion, converted where its elements are others."""

    argument: BlockArgument
    element: Attribute

    @property
    def converted(self) -> bool:
        """Whether the elements in memory are others than those that are multiplied."""
        return element_of(self.argument) != self.element


@dataclass(frozen=True)
class Attention:
    """The attention of a fusion. `results`: the element type of each result of the fusion, all of them the attention's, converted."""

    fusion: graph.FusionOp
    op: graph.AttentionOp
    q: Read
    k: Read
    v: Read
    bias: Read | None
    results: tuple[Attribute, ...]

    @property
    def reads(self) -> tuple[Read, ...]:
        """All operands."""
        return (self.q, self.k, self.v, *(() if self.bias is None else (self.bias,)))


def has_attention(fusion: graph.FusionOp) -> bool:
    """Whether a fusion is about an attention."""
    return any(isinstance(op, graph.AttentionOp) for op in fusion.body.block.ops)


def attention_of(fusion: graph.FusionOp) -> Attention:
    """Read a fusion with one attention; PassFailure where it holds more than conversions beside it."""
    (op,) = [op for op in fusion.body.block.ops if isinstance(op, graph.AttentionOp)]
    q, k, v = (_read(value, op) for value in (op.q, op.k, op.v))
    for value in fusion.terminator.values:
        if _converted(value) is not op.result and value is not op.result:
            raise refuse(fusion, "something else than a conversion stands behind its attention")
    bias = None if op.bias is None else _read(op.bias, op)
    return Attention(fusion, op, q, k, v, bias, tuple(element_of(value) for value in fusion.terminator.values))


def _read(value: SSAValue, op: graph.AttentionOp) -> Read:
    source = _converted(value)
    argument = value if source is None else source
    if not isinstance(argument, BlockArgument):
        raise refuse(op, "an operand of the attention is computed in its fusion")
    return Read(argument, element_of(value))


def _converted(value: SSAValue) -> SSAValue | None:
    """What a value is a conversion of, element by element."""
    owner = value.owner
    if not isinstance(owner, linalg.GenericOp) or len(owner.inputs) != 1:
        return None
    body: list[Operation] = list(owner.body.block.ops)
    if len(body) != 2 or not isinstance(body[0], arith.TruncFOp | arith.ExtFOp):
        return None
    straight = all(attr.data == owner.indexing_maps.data[0].data for attr in owner.indexing_maps.data)
    return owner.inputs[0] if straight else None
