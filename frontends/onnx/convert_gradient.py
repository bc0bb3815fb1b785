"""Converter: Gradient, the derivatives of a sum of a tensor's elements, by the chain rule from the last op to the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import FLOATS
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.node import Node

TRAINING = "ai.onnx.preview.training"


def gradient(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Gradient: for each tensor of `xs`, the derivative of the sum of `y` by it; `zs` are what else is given. The inputs must be the tensors of
    these names: the network is not computed a second time from other ones."""
    xs, zs, y = _names(node, "xs"), _names(node, "zs"), node.text("y", "")
    if list(node.inputs) != [*xs, *zs]:
        raise Unsupported(f"its inputs {', '.join(node.inputs)} are not the tensors {', '.join([*xs, *zs])} themselves")
    if not build.known(y):
        raise Unsupported(f"y is {y!r}, which no earlier node computes")
    wanted, last = [build.value_named(name) for name in xs], build.value_named(y)
    if build.element(last) not in FLOATS:
        raise Unsupported(f"y has elements of type {build.element(last)}, which have no derivative")
    found = {last: build.broadcast(build.number(1.0, last), shape_of(last))}
    for op in reversed(list(_between(last, wanted))):
        for operand, part in _parts(op, found[op.results[0]], build):
            found[operand] = build.binary("add", found[operand], part) if operand in found else part
    return [found[x] if x in found else build.zeros(x, shape_of(x)) for x in wanted]


def _names(node: Node, attribute: str) -> list[str]:
    names = node.value(attribute) if node.has(attribute) else []
    if not all(isinstance(name, bytes) for name in names):
        raise Unsupported(f"attribute {attribute!r} must be a list of names")
    return [name.decode(errors="replace") for name in names]


def _between(last: SSAValue, first: Sequence[SSAValue]) -> Iterator[Operation]:
    """The ops in order through which some of `first` decide `last`."""
    block = last.owner.parent if isinstance(last.owner, Operation) else None
    reached = set(first)
    ops = []
    for op in block.ops if block is not None else ():
        if any(operand in reached for operand in op.operands):
            reached.update(result for result in op.results if result not in first)
            ops.append(op)
    needed = {last}
    kept = []
    for op in reversed(ops):
        if needed.intersection(op.results):
            needed.update(op.operands)
            kept.append(op)
    yield from reversed(kept)


Parts = Callable[..., Sequence[tuple[SSAValue, SSAValue]]]


def _parts(op: Operation, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    """What the derivative by the op's result adds to those by its operands."""
    kind = str(getattr(op, "kind", ""))
    rule = RULES.get((type(op), kind))
    if rule is None:
        raise Unsupported(f"{op.name} {kind}".strip() + " has no derivative here")
    return rule(op, given, build)


def _add(op: graph.BinaryOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    return [(op.lhs, given), (op.rhs, given)]


def _sub(op: graph.BinaryOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    return [(op.lhs, given), (op.rhs, build.unary("neg", given))]


def _mul(op: graph.BinaryOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    return [(op.lhs, build.binary("mul", given, op.rhs)), (op.rhs, build.binary("mul", given, op.lhs))]


def _div(op: graph.BinaryOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    left = build.binary("div", given, op.rhs)
    return [(op.lhs, left), (op.rhs, build.unary("neg", build.binary("mul", left, op.result)))]


def _neg(op: graph.UnaryOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    return [(op.operand, build.unary("neg", given))]


def _exp(op: graph.UnaryOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    return [(op.operand, build.binary("mul", given, op.result))]


def _log(op: graph.UnaryOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    return [(op.operand, build.binary("div", given, op.operand))]


def _sqrt(op: graph.UnaryOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    return [(op.operand, build.binary("div", given, build.binary("add", op.result, op.result)))]


def _tanh(op: graph.UnaryOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    squared = build.binary("mul", op.result, op.result)
    return [(op.operand, build.binary("sub", given, build.binary("mul", given, squared)))]


def _broadcast(op: graph.BroadcastOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    repeated = [dim for dim in range(len(shape_of(given))) if dim not in op.dims]
    return [(op.operand, build.emit(graph.ReduceOp(given, kind="sum", dims=repeated)))]


def _reshape(op: graph.ReshapeOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    return [(op.operand, build.reshape(given, shape_of(op.operand)))]


def _transpose(op: graph.TransposeOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    order = list(op.permutation)
    return [(op.operand, build.transpose(given, [order.index(dim) for dim in range(len(order))]))]


def _sum(op: graph.ReduceOp, given: SSAValue, build: GraphBuilder) -> Sequence[tuple[SSAValue, SSAValue]]:
    shape = shape_of(op.operand)
    kept = [dim for dim in range(len(shape)) if dim not in op.dims]
    return [(op.operand, build.emit(graph.BroadcastOp(given, dims=kept, shape=shape)))]


RULES: dict[tuple[type[Operation], str], Parts] = {
    (graph.BinaryOp, "add"): _add,
    (graph.BinaryOp, "sub"): _sub,
    (graph.BinaryOp, "mul"): _mul,
    (graph.BinaryOp, "div"): _div,
    (graph.UnaryOp, "neg"): _neg,
    (graph.UnaryOp, "exp"): _exp,
    (graph.UnaryOp, "log"): _log,
    (graph.UnaryOp, "sqrt"): _sqrt,
    (graph.UnaryOp, "tanh"): _tanh,
    (graph.BroadcastOp, ""): _broadcast,
    (graph.ReshapeOp, ""): _reshape,
    (graph.TransposeOp, ""): _transpose,
    (graph.ReduceOp, "sum"): _sum,
}
"""Op and kind -> the chain rule."""
