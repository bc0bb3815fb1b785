"""TensorFlow's Bitcast: the same bits in elements of another width are a last dim more or less, the lowest bits first."""

from __future__ import annotations

from xdsl.dialects.builtin import i1
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import numpy_dtype, ui8, ui16, ui32, ui64
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.formula import Formula
from stepwell.frontends.tensorflow.node import Node, Values, needs

_UNSIGNED: dict[int, Attribute] = {1: ui8, 2: ui16, 4: ui32, 8: ui64}
"""By bytes."""


def _bytes(element: Attribute) -> int:
    size = numpy_dtype(element).itemsize
    if element == i1 or size not in _UNSIGNED:
        raise Unsupported(f"{element} has no bits of whole bytes")
    return size


def bitcast(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Bitcast."""
    needs(inputs, 1)
    x, element = inputs[0], node.element("type")
    before, after = _bytes(build.element(x)), _bytes(element)
    if before == after:
        return [build.emit(graph.BitcastOp(x, element))]
    bits = build.emit(graph.BitcastOp(x, _UNSIGNED[before]))
    made = _narrower(build, bits, before, after) if after < before else _wider(build, bits, before, after)
    return [build.emit(graph.BitcastOp(made, element))]


def _narrower(build: GraphBuilder, bits: SSAValue, before: int, after: int) -> SSAValue:
    shape = shape_of(bits)
    parts = [Formula(build, bits).binary("shift_right", 8 * after * n) for n in range(before // after)]
    narrow = [build.cast((part & _mask(part, after)).value, _UNSIGNED[after]) for part in parts]
    return build.joined([build.reshape(part, [*shape, 1]) for part in narrow], len(shape))


def _mask(like: Formula, size: int) -> Formula:
    return Formula(like.build, like.build.number(2 ** (8 * size) - 1, like.value))


def _wider(build: GraphBuilder, bits: SSAValue, before: int, after: int) -> SSAValue:
    shape, count = shape_of(bits), after // before
    if not shape or shape[-1] != count:
        raise Unsupported(f"its input has shape {list(shape)}: the last extent must be {count}")
    wide, last = build.cast(bits, _UNSIGNED[after]), len(shape) - 1
    columns = [Formula(build, build.reshape(build.cut(wide, last, n, n + 1), shape[:-1])) for n in range(count)]
    made = columns[0]
    for n, column in enumerate(columns[1:], 1):
        made = made | column.binary("shift_left", 8 * before * n)
    return made.value
