"""graph-split-groups: a convolution of a few groups becomes one convolution for each, with what follows it.

```mlir
%1 = graph.conv %x, %w strides [1, 1] .. groups 2 channels_last : (tensor<1x8x8x32xf32>, tensor<64x3x3x16xf32>) -> tensor<1x8x8x64xf32>
%2 = graph.unary relu %1 : ..
```
becomes
```mlir
%x0 = graph.slice %x begins [0, 0, 0, 0] extents [1, 8, 8, 16] .. : tensor<1x8x8x32xf32> -> tensor<1x8x8x16xf32>
%w0 = graph.weight #graph.weight<"w", .., [#graph.step<"slice", [0, 0, 32]>]> : tensor<32x3x3x16xf32>
%y0 = graph.conv %x0, %w0 strides [1, 1] .. groups 1 channels_last : (tensor<1x8x8x16xf32>, tensor<32x3x3x16xf32>) -> tensor<1x8x8x32xf32>
%r0 = graph.unary relu %y0 : ..
..
%2 = graph.concat %r0, %r1 dim 3 : (tensor<1x8x8x32xf32>, tensor<1x8x8x32xf32>) -> tensor<1x8x8x64xf32>
```
A matrix product has one m, one n and one k; with groups of one channel (depthwise) a convolution is no product at all and stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import graph
from stepwell.passes import Meaning, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.graph._constants import erase_unused
from stepwell.transforms.graph._values import in_fusion, shape_of, users
from stepwell.transforms.tensors import element_of

MOST_GROUPS = 16
"""Groups of which each is worth kernels of its own."""


@dataclass(frozen=True)
class SplitGroupsPass(StepwellPass):
    """Split convolutions of 2 to `most` groups, with the functions of single elements and biases behind them. See the file's head.

    Depthwise convolutions, whose groups have one channel and one filter or several, stay. Remarks: passed for each, missed for one of more groups."""

    name = "graph-split-groups"
    level: ClassVar[str] = "graph"
    meaning: ClassVar[Meaning] = "reassociates"

    most: int = MOST_GROUPS

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for inner in [inner for inner in op.walk() if isinstance(inner, graph.ConvOp)]:
            if in_fusion(inner) or inner.groups == 1 or shape_of(inner.filter)[_channel(inner)] == 1:
                continue
            names = names_of(inner)
            if inner.groups > self.most:
                told = (
                    f"{inner.groups} groups stay together: more than {self.most} convolutions cost more than they save"
                )
                remarks_of(ctx).add(Remark("missed", self.name, names, told, "set the option most"))
                continue
            _split(inner)
            remarks_of(ctx).add(Remark("passed", self.name, names, f"became {inner.groups} convolutions"))


def _channel(op: graph.ConvOp) -> int:
    """The channel dim of input, filter and result."""
    return len(op.strides) + 1 if op.layout == "channels_last" else 1


def _followers(op: graph.ConvOp) -> list[Operation]:
    """What behind a convolution works on each group alone: functions of one element, and sums and the like with a number for each channel."""
    chain: list[Operation] = []
    last: Operation = op
    while len(behind := users(last)) == 1 and _is_local(behind[0], last, _channel(op)):
        last = behind[0]
        chain.append(last)
    return chain


def _is_local(user: Operation, value: Operation, channel: int) -> bool:
    if isinstance(user, graph.UnaryOp | graph.CastOp):
        return not in_fusion(user)
    if not isinstance(user, graph.BinaryOp) or in_fusion(user):
        return False
    others = [operand.owner for operand in user.operands if operand.owner is not value]
    return len(others) == 1 and isinstance(others[0], graph.BroadcastOp) and others[0].dims in ((channel,), ())


class _Parts:
    """Inserts the ops of the groups before one place, called after what they stand for."""

    def __init__(self, place: Operation) -> None:
        self.place = InsertPoint.before(place)

    def add(self, op: Operation, source: Operation) -> SSAValue:
        """Insert `op`, which does what `source` did."""
        inherit_location(op, source)
        op.results[0].name_hint = source.results[0].name_hint if source.results else None
        Rewriter.insert_op(op, self.place)
        return op.results[0]

    def part(self, value: SSAValue, dim: int, begin: int, end: int, source: Operation) -> SSAValue:
        """Elements `begin` to `end` - 1 of a dim, of a weight by its recipe."""
        if isinstance(value.owner, graph.WeightOp):
            step = graph.StepAttr("slice", [dim, begin, end])
            return self.add(graph.WeightOp(value.owner.ref.then(step)), value.owner)
        shape = shape_of(value)
        begins = [begin if d == dim else 0 for d in range(len(shape))]
        extents = [end - begin if d == dim else extent for d, extent in enumerate(shape)]
        return self.add(graph.SliceOp(value, begins=begins, extents=extents), source)


def _split(op: graph.ConvOp) -> None:
    chain, channel = _followers(op), _channel(op)
    end = chain[-1] if chain else op
    parts = _Parts(end)
    inputs, outputs = shape_of(op.input)[channel] // op.groups, shape_of(op.result)[channel] // op.groups
    made = []
    for group in range(op.groups):
        first, last = group * outputs, (group + 1) * outputs
        x = parts.part(op.input, channel, group * inputs, (group + 1) * inputs, op)
        filter = parts.part(op.filter, 0, first, last, op)
        window = {"strides": op.strides, "pads": op.pads, "dilations": op.dilations, "layout": op.layout}
        value = parts.add(graph.ConvOp(x, filter, element_type=element_of(op.result), **window), op)
        before: Operation = op
        for follower in chain:
            value = _follow(parts, follower, before, value, channel, (first, last))
            before = follower
        made.append(value)
    whole = graph.ConcatOp(made, dim=channel)
    result = parts.add(whole, end)
    end.results[0].replace_all_uses_with(result)
    for dead in reversed([op, *chain]):
        feeders = [operand.owner for operand in dead.operands]
        Rewriter.erase_op(dead)
        for feeder in feeders:
            erase_unused(feeder)


def _follow(
    parts: _Parts, op: Operation, before: Operation, value: SSAValue, channel: int, span: tuple[int, int]
) -> SSAValue:
    """`op`, which reads the result of `before`, on the part `value` of it."""
    if isinstance(op, graph.UnaryOp):
        return parts.add(graph.UnaryOp(value, kind=op.kind), op)
    if isinstance(op, graph.CastOp):
        return parts.add(graph.CastOp(value, element_of(op.result)), op)
    assert isinstance(op, graph.BinaryOp)
    operands = [value if operand.owner is before else operand for operand in op.operands]
    for position, operand in enumerate(operands):
        repeated = operand.owner
        if operand is value or not isinstance(repeated, graph.BroadcastOp):
            continue
        source = parts.part(repeated.operand, 0, *span, repeated) if repeated.dims else repeated.operand
        operands[position] = parts.add(graph.BroadcastOp(source, dims=repeated.dims, shape=shape_of(value)), repeated)
    return parts.add(graph.BinaryOp(*operands, kind=op.kind), op)


PASS = SplitGroupsPass
