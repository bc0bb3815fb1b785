"""Elementwise ops that make one value of another together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import Operation

from stepwell.dialects import graph
from stepwell.transforms.graph._values import in_fusion, users

Epilogue = graph.UnaryOp | graph.BinaryOp | graph.CastOp | graph.SelectOp
Choice = Epilogue | graph.CompareOp
"""What a function of one value is made of; a comparison alone is no result of a product."""
MOST = 16
"""Ops of such a function."""
Rule = Callable[[Operation, Sequence[Operation]], bool]
"""Whether an op may be taken, or may be the last, given what is there already."""


def function_of(last: Operation, may_take: Rule, may_end: Rule = lambda op, inside: True) -> list[Operation]:
    """The fewest elementwise ops behind `last` that together give one value of its value (`relu`, `x * sigmoid(x)`, `select(x > 0, x, exp(x) - 1)`), in
    order; nothing where one of them may not be taken, or a value between them is used elsewhere."""
    found: dict[Operation, None] = {last: None}
    op = last.next_op
    while op is not None and len(found) <= MOST:
        if any(operand.owner in found for operand in op.operands):
            if not isinstance(op, Choice) or in_fusion(op) or not may_take(op, list(found)):
                return []
            found[op] = None
            closed = all(user in found for value in found if value is not op for user in users(value))
            if closed and may_end(op, list(found)):
                return list(found)[1:]
        op = op.next_op
    return []
