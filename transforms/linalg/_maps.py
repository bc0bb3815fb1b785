"""What maps and values of a fusion's body say: plain loops, reshapes, copies, what an op reads."""

from __future__ import annotations

from xdsl.dialects import tensor
from xdsl.dialects.builtin import TensorType
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap

from stepwell.transforms.linalg._windows import Loops


def through_reshapes(value: SSAValue) -> SSAValue:
    """The value that `value` is a row-major reshape of."""
    while isinstance(value.owner, tensor.ExpandShapeOp | tensor.CollapseShapeOp):
        value = value.owner.src
    return value


def is_copy(op: linalg.GenericOp) -> bool:
    """Whether a generic yields its only input: a broadcast or a transpose."""
    body = op.body.block
    only = body.first_op
    return len(op.inputs) == 1 and isinstance(only, linalg.YieldOp) and only.operands[0] is body.args[0]


def plain_loops(map: AffineMap) -> Loops | None:
    """The loops of a map whose results are distinct single loops; None for other maps."""
    loops = tuple(expr.position for expr in map.results if isinstance(expr, AffineDimExpr))
    return loops if len(loops) == len(map.results) and len(set(loops)) == len(loops) else None


def uses_positions(op: linalg.GenericOp) -> bool:
    """Whether the body computes with the position of its element, or reads a tensor anywhere."""
    return any(isinstance(inner, linalg.IndexOp | tensor.ExtractOp) for inner in op.body.block.ops)


def tensors_read(op: Operation) -> list[SSAValue]:
    """The tensors with elements that an op reads, those that its body names among them."""
    inside = {result for inner in op.walk() for result in inner.results}
    inside |= {arg for region in op.regions for block in region.blocks for arg in block.args}
    values = dict.fromkeys(value for inner in op.walk() for value in inner.operands if value not in inside)
    return [value for value in values if is_data(value)]


def is_data(value: SSAValue) -> bool:
    """Whether a value is a tensor with elements: a tensor.empty gives only the extents of a window."""
    return isinstance(value.type, TensorType) and not isinstance(value.owner, tensor.EmptyOp)
