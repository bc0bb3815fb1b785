"""Converters: If, Loop and Scan.

Branches that are known are put in place. A loop whose count is known and small is unrolled, so that its bodies may make extents that change, grow
sequences, and cut at places that depend on the iteration; any other is a graph.loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from xdsl.dialects.builtin import i1, i64
from xdsl.ir import Region, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.bodies import COUNTER, at, call, ended, region, same_types, stacked, tensors
from stepwell.frontends.onnx.builder import GraphBuilder, Item, shape_of
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node

UNROLLED = 16
"""A loop of at most so many iterations is unrolled."""
MOST_UNROLLED = 1024
"""A loop that no graph.loop expresses is unrolled up to so many iterations."""
TRUE = np.asarray(True)


def branch(node: Node, build: GraphBuilder) -> list[Item]:
    """If: the branch itself where the condition is known, else a graph.if."""
    branches = [node.graph("then_branch"), node.graph("else_branch")]
    known = build.maybe_constant(node, 0)
    if known is not None:
        return call(build, branches[0] if _truth(known) else branches[1], [])
    condition = build.reshape(build.value(node, 0), [])
    made = [region(build, [], lambda _, body=body: call(build, body, [])) for body in branches]  # type: ignore[misc]
    values = [_inside(build, part, items) for part, items in made]
    types = [value.type for value in values[0]]
    if len(values[1]) != len(types):
        raise Unsupported(f"its branches give {len(types)} and {len(values[1])} values")
    same_types(values[1], types, "from one branch to the other")
    parts = [ended(build, part, found) for (part, _), found in zip(made, values, strict=True)]
    return list(build.emit_all(graph.IfOp(condition, types, *parts)))


def _inside(build: GraphBuilder, part: Region, items: Sequence[Item]) -> list[SSAValue]:
    with build.into(part.block):
        return tensors(build, items, "what a branch gives")


def _truth(array: Array) -> bool:
    if array.size != 1:
        raise Unsupported(f"its condition has {array.size} elements: it must have one")
    return bool(array.reshape(())[()])


def loop(node: Node, build: GraphBuilder) -> list[Item]:
    """Loop: up to a trip count, as long as a condition holds; what is carried, then slices stacked."""
    body, carried = node.graph("body"), [build.item(node, k) for k in range(2, len(node.inputs))]
    trips, going = (build.maybe_constant(node, k) for k in (0, 1))
    count = int(trips.reshape(())) if trips is not None else None
    count = 0 if going is not None and not _truth(going) else count
    free = (going is not None or not node.has_input(1)) and count is not None
    if free and count is not None and count <= UNROLLED:
        return _unrolled(build, body, count, carried)
    return _attempt(
        build,
        lambda: _structured(node, build, body, carried, count),
        lambda: _unrolled(build, body, count, carried) if free and count is not None else None,
    )


def _attempt(
    build: GraphBuilder, first: Callable[[], list[Item]], second: Callable[[], list[Item] | None]
) -> list[Item]:
    """The first of two ways that works; the reasons of the first where none does."""
    before, last = len(build.reasons), build.block.last_op
    try:
        return first()
    except Unsupported:
        reasons = build.reasons[before:]
        del build.reasons[before:]
        while build.block.last_op is not last:
            build.block.erase_op(build.block.last_op)  # type: ignore[arg-type]
        found = second()
        if found is None:
            build.reasons.extend(reasons)
            raise
        return found


def _unrolled(build: GraphBuilder, body: onnx.GraphProto, count: int, carried: Sequence[Item]) -> list[Item]:
    """The body again and again, each time with the number of the iteration as a constant."""
    if count > MOST_UNROLLED:
        raise Unsupported(f"it has to be unrolled, and {count} iterations are more than {MOST_UNROLLED}")
    state, slices = list(carried), list[list[Item]]()
    for iteration in range(count):
        going, *rest = call(build, body, [np.asarray(iteration, np.int64), TRUE, *state])
        state = rest[: len(carried)]
        slices.append(rest[len(carried) :])
        known = going if isinstance(going, np.ndarray) else build.array(_one(going))
        if known is None:
            raise Unsupported("whether it goes on is computed from the network's inputs, and it has to be unrolled")
        if not _truth(known):
            break
    places = len(body.output) - 1 - len(carried)
    if places and not slices:
        raise Unsupported("it runs no iteration, and what it stacks has no shape")
    columns = [tensors(build, [each[place] for each in slices], "a slice") for place in range(places)]
    for column in columns:
        same_types(column, [column[0].type] * len(column), "a slice")
    return [*state, *(stacked(build, column) for column in columns)]


def _one(item: Item) -> SSAValue:
    if not isinstance(item, SSAValue):
        raise Unsupported("a sequence stands where a tensor is needed")
    return item


def _structured(
    node: Node, build: GraphBuilder, body: onnx.GraphProto, carried: Sequence[Item], count: int | None
) -> list[Item]:
    """A graph.loop; slices are stacked up to the trip count, or to the extent that the model declares for them."""
    start = tensors(build, carried, "what a loop carries")
    types = [value.type for value in start]
    made, items = region(build, [COUNTER, *types], lambda given: call(build, body, [given[0], TRUE, *given[1:]]))
    going, values = items[0], _inside(build, made, items[1:])
    same_types(values[: len(start)], types, "what it carries")
    always = isinstance(going, np.ndarray) and _truth(going) and build.maybe_truth(node, 1)
    condition = None if always else build.reshape(build.value(node, 1), []) if node.has_input(1) else _true(build)
    last = [] if always else [build.reshape(value, []) for value in _inside(build, made, [going])]
    slices = len(values) - len(start)
    bound, trip = count, None
    if count is None or not always:
        trip = _trip(node, build)
    if bound is None and slices:
        bound = _declared_bound(node, build, len(start), slices)
    symbol = build.symbol() if trip is not None or condition is not None else None
    op = graph.LoopOp(
        start, ended(build, made, [*last, *values]), trip=trip, condition=condition, bound=bound, symbol=symbol
    )
    results = list(build.emit_all(op))
    if count is not None or not slices:
        return list(results)
    zeros = [build.emit(graph.ConstantOp(0, build.element(value))) for value in results[len(start) :]]
    whole = zip(results[len(start) :], zeros, strict=True)
    return [*results[: len(start)], *(build.emit(graph.FillTailOp(value, zero, dim=0)) for value, zero in whole)]


def _true(build: GraphBuilder) -> SSAValue:
    return build.emit(graph.ConstantOp(True, i1))


def _trip(node: Node, build: GraphBuilder) -> SSAValue | None:
    return build.cast(build.reshape(build.value(node, 0), []), i64) if node.has_input(0) else None


def _declared_bound(node: Node, build: GraphBuilder, carried: int, slices: int) -> int:
    """The first extent that the model declares for what is stacked; Unsupported where it declares none."""
    declared = [build.declared.get(name) for name in node.outputs[carried:]]
    firsts = {shape[0] for shape in declared if shape}
    if len(firsts) != 1 or len(declared) != slices:
        raise Unsupported(
            "how often it runs is computed from the network's inputs, and no extent is declared for what it stacks"
        )
    return firsts.pop()


def scan(node: Node, build: GraphBuilder) -> list[Item]:
    """Scan: a counted loop over slices of its inputs; before opset 9 over each element of a batch."""
    if node.opset >= 9:
        items = [build.value(node, k) for k in range(len(node.inputs))]
        return list(_scanned(node, build, items))
    if node.has_input(0):
        raise Unsupported("lengths of the batch's sequences are not supported: pad them, and give none")
    values = [build.value(node, k) for k in range(1, len(node.inputs))]
    batch = shape_of(values[0])[0]
    made = [_scanned(node, build, [at(build, value, np.asarray(n)) for value in values]) for n in range(batch)]
    return [stacked(build, column) for column in zip(*made, strict=True)]


def _scanned(node: Node, build: GraphBuilder, items: Sequence[SSAValue]) -> list[SSAValue]:
    body, scans = node.graph("body"), node.integer("num_scan_inputs", 1)
    if not 0 < scans <= len(items):
        raise Unsupported(f"num_scan_inputs is {scans}, and it has {len(items)} inputs")
    states = len(items) - scans
    stacks = len(body.output) - states
    axes = node.integers("scan_input_axes", (0,) * scans)
    backwards = node.integers("scan_input_directions", node.integers("directions", (0,) * scans))
    out_axes = node.integers("scan_output_axes", (0,) * stacks)
    out_backwards = node.integers("scan_output_directions", (0,) * stacks)
    if [len(axes), len(backwards), len(out_axes), len(out_backwards)] != [scans, scans, stacks, stacks]:
        raise Unsupported(f"axes and directions are not of {scans} inputs and {stacks} outputs")
    whole = [
        _turned(build, _fronted(build, x, dim_of(axis, len(shape_of(x)))), reverse)
        for x, axis, reverse in zip(items[states:], axes, backwards, strict=True)
    ]
    lengths = {shape_of(x)[0] for x in whole}
    if len(lengths) != 1:
        raise Unsupported(f"the extents {sorted(lengths)} of what it scans differ")
    made = _scan(build, body, items[:states], whole, lengths.pop())
    ends = zip(made[states:], out_axes, out_backwards, strict=True)
    return [*made[:states], *(_placed(build, _turned(build, y, back), axis) for y, axis, back in ends)]


def _scan(
    build: GraphBuilder, body: onnx.GraphProto, start: Sequence[SSAValue], scanned: Sequence[SSAValue], length: int
) -> list[SSAValue]:
    """The loop over the first dims: unrolled where it is short."""

    def step(index: Item, state: Sequence[Item]) -> list[Item]:
        return call(build, body, [*state, *(at(build, x, index) for x in scanned)])

    if 0 < length <= UNROLLED:
        state, slices = list[Item](start), list[list[SSAValue]]()
        for iteration in range(length):
            made = step(np.asarray(iteration), state)
            state = made[: len(start)]
            slices.append(tensors(build, made[len(start) :], "a slice"))
        stacks = [stacked(build, column) for column in zip(*slices, strict=True)]
        return [*tensors(build, state, "a state"), *stacks]
    types = [value.type for value in start]
    made_region, items = region(build, [COUNTER, *types], lambda given: step(given[0], given[1:]))
    values = _inside(build, made_region, items)
    same_types(values[: len(start)], types, "what it carries")
    return list(build.emit_all(graph.LoopOp(start, ended(build, made_region, values), bound=length)))


def _fronted(build: GraphBuilder, x: SSAValue, dim: int) -> SSAValue:
    return build.transpose(x, [dim, *(d for d in range(len(shape_of(x))) if d != dim)])


def _turned(build: GraphBuilder, x: SSAValue, reverse: int) -> SSAValue:
    return build.emit(graph.ReverseOp(x, dims=[0])) if reverse else x


def _placed(build: GraphBuilder, y: SSAValue, axis: int) -> SSAValue:
    """The stacked dim at its place among the others."""
    rank = len(shape_of(y))
    order = list(range(1, rank))
    order.insert(dim_of(axis, rank), 0)
    return build.transpose(y, order)
