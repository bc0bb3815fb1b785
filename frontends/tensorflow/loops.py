"""A V1 loop as a graph.loop: its variables are carried, its condition is computed before it and at the end of its body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import TensorType, i64
from xdsl.ir import Block, Region, SSAValue

from stepwell.dialects import graph
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.tensorflow.frames import Frames, Tag
from stepwell.frontends.tensorflow.liveness import Guards, Live, flat, like, same_type, together
from stepwell.frontends.tensorflow.node import Port
from stepwell.frontends.tensorflow.tensor_array import tensor
from stepwell.ir.locations import location_of


@dataclass
class Loop:
    """A graph.loop while it is made: the iterations before `start` stand unrolled before it; with a `count` it runs so often, else as long as its
    condition holds."""

    frame: str
    outer: Tag
    start: int
    condition: Port
    count: int | None
    block: Block | None = None
    carried: list[str] = field(default_factory=list)
    starts: list[Live] = field(default_factory=list)
    arguments: dict[str, Live] = field(default_factory=dict)
    nexts: dict[str, Live] = field(default_factory=dict)
    results: dict[str, Live | None] | None = None

    @property
    def inner(self) -> Tag:
        """The tag of its body."""
        return self.at("body")

    @property
    def next(self) -> Tag:
        """The tag of what follows a run of its body."""
        return self.at("next")

    def at(self, step: int | str) -> Tag:
        """The tag of an iteration."""
        return (*self.outer, (self.frame, step))


def begin(build: GraphBuilder, loop: Loop, given: Mapping[str, Live | None], frames: Frames) -> None:
    """Its body, still empty, with an argument for each variable that changes; those that do not change are seen from outside."""
    dead = [name for name, live in given.items() if live is None]
    if dead:
        raise Unsupported(f"its variable {dead[0]!r} has no value at the start")
    lives = {name: live for name, live in given.items() if live is not None}
    loop.carried = [name for name in lives if not frames.is_constant(frames.nodes[name])]
    loop.starts = [Live(flat(build, lives[name].item), lives[name].guards) for name in loop.carried]
    types = [tensor(live.item).type for live in loop.starts]
    loop.block = Block(arg_types=[TensorType(i64, []), *types])
    arguments = zip(loop.carried, loop.block.args[1:], strict=True)
    loop.arguments = {**lives, **{name: Live(like(lives[name].item, value)) for name, value in arguments}}


def values_of_next(build: GraphBuilder, loop: Loop, found: Mapping[str, Live | None]) -> dict[str, Live]:
    """The variables behind a run of the body, of the types that they began with; they end in the body."""
    if loop.nexts:
        return loop.nexts
    assert loop.block is not None
    nexts = dict(loop.arguments)
    with build.into(loop.block):
        for name, live, argument in zip(loop.carried, found.values(), loop.block.args[1:], strict=True):
            if live is None:
                raise Unsupported(f"its variable {name!r} has no value at the end of an iteration")
            value = flat(build, live.item)
            same_type(value, argument.type)
            nexts[name] = Live(like(loop.arguments[name].item, value), live.guards)
    loop.nexts = nexts
    return nexts


def finish(build: GraphBuilder, loop: Loop, conditions: Sequence[Live | None]) -> None:
    """The graph.loop itself, and the variables behind it."""
    assert loop.block is not None
    nexts = [loop.nexts[name] for name in loop.carried]
    truths = [live for live in conditions if live is not None]
    if len(truths) != len(conditions):
        raise Unsupported("whether its loop goes on is not known: the condition is in a branch that is not taken")
    guards = together([*loop.starts, *nexts, *truths, *loop.arguments.values()])
    if guards is None:
        raise Unsupported("its loop begins and goes on in branches that exclude each other")
    scalars = [_scalar(build, block, live) for block, live in zip((build.block, loop.block), truths, strict=False)]
    with build.into(loop.block):
        values = [*scalars[1:], *(flat(build, live.item) for live in nexts)]
        op = graph.YieldOp(*values)
        op.location = location_of([build.node_name])
        loop.block.add_op(op)
    _check_guards(guards, loop.block)
    start = [tensor(live.item) for live in loop.starts]
    made = graph.LoopOp(start, Region(loop.block), bound=loop.count, condition=scalars[0] if scalars else None)
    results = dict(zip(loop.carried, build.emit_all(made), strict=True))
    loop.results = {
        name: Live(like(live.item, results[name]) if name in results else live.item, guards | live.guards)
        for name, live in loop.arguments.items()
    }


def _scalar(build: GraphBuilder, block: Block, condition: Live) -> SSAValue:
    with build.into(block):
        return build.reshape(tensor(condition.item), [])


def _check_guards(guards: Guards, body: Block) -> None:
    """What a variable hangs on must be decided outside of the loop."""
    for condition, _ in guards:
        block: Block | None = condition.owner if isinstance(condition.owner, Block) else condition.owner.parent
        while block is not None:
            if block is body:
                raise Unsupported("its loop goes on with a value that a branch of its body may not give")
            block = block.parent_block()
