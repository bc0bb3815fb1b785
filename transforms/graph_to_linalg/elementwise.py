"""Maps of single elements as linalg."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.elementwise import Elementwise, expand
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder
from stepwell.transforms.tensors import element_of


def convert_elementwise(op: Elementwise, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A generic with identity maps; a cast that changes nothing disappears."""
    element = element_of(op.result)
    if isinstance(op, graph.CastOp) and element == element_of(operands[0]):
        return operands[0]
    return build.elementwise(operands, element, lambda s: expand(op, s[:-1]))


def convert_bitcast(op: graph.BitcastOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A generic with identity maps; one that changes nothing disappears."""
    element = element_of(op.result)
    if element == element_of(operands[0]):
        return operands[0]

    def body(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        made = arith.BitcastOp(scalars[0], element)
        return [made], made.result

    return build.elementwise(operands, element, body)
