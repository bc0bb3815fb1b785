"""Graphs inside nodes: branches, and bodies of loops, converted with their own names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import onnx
from onnx import numpy_helper
from xdsl.dialects.builtin import i64
from xdsl.ir import Attribute, Block, Region, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.checks import Tensor
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, Item, shape_of
from stepwell.frontends.onnx.declared import declared_shapes
from stepwell.ir.locations import location_of


def call(build: GraphBuilder, body: onnx.GraphProto, arguments: Iterable[Item]) -> list[Item]:
    """Convert a body for these arguments where the builder stands; what its outputs are."""
    given = list(arguments)
    if len(given) != len(body.input):
        raise Unsupported(f"its body takes {len(body.input)} inputs, and {len(given)} are given")
    before = len(build.reasons)
    with build.scope() as names:
        names.declared.update(declared_shapes(body))
        names.constants.update({tensor.name: numpy_helper.to_array(tensor) for tensor in body.initializer})
        for entry, item in zip(body.input, given, strict=True):
            names.bind(entry.name, item)
        build.convert_nodes(body.node)
        if len(build.reasons) > before:
            raise Unsupported("its body cannot be converted")
        missing = [entry.name for entry in body.output if not names.known(entry.name)]
        if missing:
            raise Unsupported(f"output {missing[0]!r} of its body is computed by no node")
        return [names.item(entry.name) for entry in body.output]


def tensors(build: GraphBuilder, items: Iterable[Item], what: str) -> list[SSAValue]:
    """Items as values; Unsupported where one is a sequence."""
    found = list(items)
    if any(isinstance(item, tuple) for item in found):
        raise Unsupported(f"{what} is a sequence, and only loops that can be unrolled carry sequences")
    return [item if isinstance(item, SSAValue) else build.weight(build.part("constant"), item) for item in found]  # type: ignore[arg-type]


def region(
    build: GraphBuilder, types: Sequence[Attribute], convert: Callable[[Sequence[SSAValue]], list[Item]]
) -> tuple[Region, list[Item]]:
    """A region whose arguments have these types, and what `convert` makes of them inside; `ended` ends it."""
    block = Block(arg_types=types)
    with build.into(block):
        items = convert(block.args)
    return Region(block), items


def ended(build: GraphBuilder, made: Region, values: Sequence[SSAValue]) -> Region:
    """The region, yielding these values."""
    last = graph.YieldOp(*values)
    last.location = location_of([build.node_name])
    made.block.add_op(last)
    return made


def same_types(found: Sequence[SSAValue], wanted: Sequence[Attribute], what: str) -> None:
    """Unsupported where values have other types than wanted."""
    for value, type in zip(found, wanted, strict=True):
        if value.type != type:
            raise Unsupported(f"{what}: {type} becomes {value.type}, and the types must be the same")


def at(build: GraphBuilder, x: SSAValue, index: Item) -> SSAValue:
    """The slice of the first dim at an index: an array's, or a tensor<i64>'s."""
    if isinstance(index, np.ndarray):
        part = build.cut(x, 0, int(index), int(index) + 1)
        return build.reshape(part, shape_of(x)[1:])
    assert isinstance(index, SSAValue)
    return build.emit(graph.GatherOp(x, build.reshape(index, [1]), dims=[0]))


def stacked(build: GraphBuilder, parts: Sequence[SSAValue]) -> SSAValue:
    """Values of one type along a new first dim."""
    spread = [build.reshape(part, [1, *shape_of(part)]) for part in parts]
    return build.joined(spread, 0)


COUNTER = Tensor(i64, ()).type
"""The type of a loop's iteration."""
