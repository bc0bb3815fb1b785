"""Ops that only move elements as linalg: copies through index maps, views, and parts of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, TensorType
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineExpr, AffineMap

from stepwell.dialects import graph
from stepwell.dialects.evaluate import literal
from stepwell.dialects.numpy_types import numpy_dtype, signless
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder, dims
from stepwell.transforms.graph_to_linalg.positions import Positions
from stepwell.transforms.tensors import element_of, shape_of

MAX_RANK = 4
"""Dims of a tile kernel."""


def convert_constant(op: graph.ConstantOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """linalg.fill where all elements are equal, else the few numbers as an arith.constant."""
    type, values = op.result.type, op.array
    assert isinstance(type, TensorType)
    if len(op.values.data) == 1:
        return build.filled(type.get_shape(), type.element_type, values.reshape(-1)[0].item() if values.size else 0)
    element = signless(type.element_type)
    held = values.view(numpy_dtype(element)).reshape(-1).tolist()
    dense = DenseIntOrFPElementsAttr.from_list(TensorType(element, type.get_shape()), held)  # type: ignore[type-var]
    made = build.insert(arith.ConstantOp(dense)).results[0]  # type: ignore[arg-type]
    return made if element == type.element_type else build.elementwise([made], type.element_type, lambda s: ([], s[0]))


def convert_iota(op: graph.IotaOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A generic that yields the position along one loop."""
    element = element_of(op.result)

    def body(scalars: Sequence[SSAValue]) -> tuple[Positions, SSAValue]:
        s = Positions()
        return s, s.as_number(s.loop(op.dim), element)

    return build.positioned([], shape_of(op.result), element, body)


def convert_broadcast(op: graph.BroadcastOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A generic that yields its input through a projected map."""
    return build.copy(operands[0], shape_of(op.result), dims(*op.dims))


def convert_transpose(op: graph.TransposeOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A generic that yields its input through a permuted map, input dim permutation[i] being loop i. Of more dims than a tile kernel has, extents of 1
    are left out and what stays side by side is made one."""
    source, shape = shape_of(operands[0]), shape_of(op.result)
    if len(shape) <= MAX_RANK:
        return build.copy(operands[0], shape, dims(*sorted(range(len(shape)), key=lambda i: op.permutation[i])))
    runs: list[list[int]] = []
    for dim in op.permutation:
        if source[dim] == 1:
            continue
        if runs and _follows(runs[-1][-1], dim, source):
            runs[-1].append(dim)
        else:
            runs.append([dim])
    order = sorted(range(len(runs)), key=lambda i: runs[i][0])
    extents = [prod(source[dim] for dim in run) for run in runs]
    view = build.reshape(operands[0], [extents[i] for i in order])
    return build.reshape(build.copy(view, extents, dims(*order)), shape)


def _follows(first: int, second: int, shape: Sequence[int]) -> bool:
    """Whether only extents of 1 lie between two dims."""
    return first < second and all(extent == 1 for extent in shape[first + 1 : second])


def convert_reshape(op: graph.ReshapeOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """tensor.collapse_shape and tensor.expand_shape."""
    return build.reshape(operands[0], shape_of(op.result))


def convert_reverse(op: graph.ReverseOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A generic that yields its input through a map that counts down along the dims."""
    shape = shape_of(op.result)
    counted = [
        AffineExpr.dimension(d) * -1 + (extent - 1) if d in op.dims else AffineExpr.dimension(d)
        for d, extent in enumerate(shape)
    ]
    return build.copy(operands[0], shape, counted) if all(shape) and op.dims else operands[0]


def convert_slice(op: graph.SliceOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """tensor.extract_slice."""
    shape = shape_of(op.result)
    if shape == shape_of(operands[0]):
        return operands[0]
    made = TensorType(element_of(op.result), shape)
    return build.insert(tensor.ExtractSliceOp(operands[0], op.begins, shape, op.strides, made)).results[0]


def convert_concat(op: graph.ConcatOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """tensor.concat."""
    if len(operands) == 1:
        return operands[0]
    made = TensorType(element_of(op.result), shape_of(op.result))
    return build.insert(tensor.ConcatOp(operands, op.dim, made)).results[0]


def convert_pad(op: graph.PadOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """tensor.pad with a constant; with a value that is computed, a choice between the source's element and the value."""
    x, value = operands
    number = literal(value.owner.inputs[0]) if isinstance(value.owner, linalg.FillOp) else None
    if number is not None:
        return build.pad(x, op.low, op.high, number.value.data)
    if not any((*op.low, *op.high)):
        return x
    shape = shape_of(x)

    def body(scalars: Sequence[SSAValue]) -> tuple[Positions, SSAValue]:
        s, fill = Positions(), scalars[0]
        if not all(shape):
            return s, fill
        moved = [s.op(arith.SubiOp, s.loop(d), s.index(low)) for d, low in enumerate(op.low)]
        inside = s.within(moved[0], shape[0])
        for position, extent in zip(moved[1:], shape[1:], strict=True):
            inside = s.op(arith.AndIOp, inside, s.within(position, extent))
        found = s.extract(x, [s.clamped(position, extent) for position, extent in zip(moved, shape, strict=True)])
        return s, s.op(arith.SelectOp, inside, found, fill, result=fill.type)

    return build.positioned([value], shape_of(op.result), element_of(x), body, [AffineMap(len(shape), 0, ())])


def convert_gather(op: graph.GatherOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A generic over the result: the components of its index, clamped, say where the operand is read."""
    x, indices = operands
    result, source = shape_of(op.result), shape_of(x)
    lead = len(shape_of(indices)) - 1
    others = [dim for dim in range(op.batch, len(source)) if dim not in op.dims]

    def body(scalars: Sequence[SSAValue]) -> tuple[Positions, SSAValue]:
        s = Positions()
        at: dict[int, SSAValue] = {dim: s.loop(dim) for dim in range(op.batch)}
        at |= {dim: s.loop(lead + position) for position, dim in enumerate(others)}
        picked = [s.loop(dim) for dim in range(lead)] if op.dims else []
        for component, dim in enumerate(op.dims):
            chosen = s.signless(s.extract(indices, [*picked, s.index(component)]))
            at[dim] = s.clamped(s.as_index(chosen), source[dim])
        return s, s.extract(x, [at[dim] for dim in range(len(source))])

    if not all(result):
        return build.empty(result, element_of(x))
    return build.positioned([], result, element_of(x), body)
