"""TensorFlow operators that multiply matrices and pick elements."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, components, shape_of
from stepwell.frontends.tensorflow.convert_linear import swapped
from stepwell.frontends.tensorflow.node import Node, Values, dim_of, extents_of, needs


def matmul(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """MatMul of two matrices, either transposed."""
    needs(inputs, 2)
    a, b = inputs
    if len(shape_of(a)) != 2 or len(shape_of(b)) != 2:
        raise Unsupported(f"operands have shapes {list(shape_of(a))} and {list(shape_of(b))}: matrices are needed")
    left = build.transpose(a, [1, 0]) if node.flag("transpose_a") else a
    return [build.emit(graph.MatmulOp(left, b, transpose_b=node.flag("transpose_b")))]


def batch_matmul(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """BatchMatMul, with V2's broadcasting of the batch dims."""
    needs(inputs, 2)
    a, b = inputs
    if min(len(shape_of(a)), len(shape_of(b))) < 2:
        raise Unsupported("operands must be matrices or batches of them")
    left = swapped(build, a) if node.flag("adj_x") else a
    if len(shape_of(b)) > 2 or len(shape_of(a)) == 2:
        try:
            batch = np.broadcast_shapes(shape_of(a)[:-2], shape_of(b)[:-2])
        except ValueError:
            raise Unsupported(f"batches of {list(shape_of(a))} and {list(shape_of(b))} do not broadcast") from None
        left = build.broadcast(left, [*batch, *shape_of(left)[-2:]])
        b = build.broadcast(b, [*batch, *shape_of(b)[-2:]])
    return [build.emit(graph.MatmulOp(left, b, transpose_b=node.flag("adj_y")))]


def gather(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Gather and GatherV2: slices of a dim; the indices' dims stand where it stood."""
    needs(inputs, 2, 3)
    x, indices, batch = inputs[0], inputs[1], node.integer("batch_dims", 0)
    axis = dim_of(build.integers(inputs[2], "the axis")[0], len(shape_of(x))) if len(inputs) > 2 else 0
    batch = dim_of(batch, len(shape_of(indices)) + 1) if batch else 0
    if batch > axis:
        raise Unsupported(f"batch_dims {batch} is behind the axis {axis}")
    columns = build.reshape(indices, [*shape_of(indices), 1])
    picked = build.emit(graph.GatherOp(x, columns, dims=[axis], batch=batch))
    new, before = len(shape_of(indices)) - batch, axis - batch
    moved = [*range(batch), *range(batch + new, batch + new + before), *range(batch, batch + new)]
    return [build.transpose(picked, [*moved, *range(batch + new + before, len(shape_of(picked)))])]


def gather_nd(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """GatherNd: the last dim of the indices is a position."""
    needs(inputs, 2)
    dims = components(inputs[1], len(shape_of(inputs[0])))
    return [build.emit(graph.GatherOp(inputs[0], inputs[1], dims=dims))]


def scatter_nd(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """ScatterNd: updates added into zeros."""
    needs(inputs, 3)
    into = build.zeros(inputs[1], extents_of(build, inputs[2], "the shape"))
    dims = components(inputs[0], len(shape_of(into)))
    return [build.emit(graph.ScatterOp(into, inputs[0], inputs[1], dims=dims, combine="add"))]


def sparse_dense_add(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """SparseTensorDenseAdd: values added at positions."""
    needs(inputs, 4)
    indices, values, _, dense = inputs
    dims = components(indices, len(shape_of(dense)))
    return [build.emit(graph.ScatterOp(dense, indices, values, dims=dims, combine="add"))]


def invert_permutation(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """InvertPermutation: position i goes where x[i] says."""
    needs(inputs, 1)
    (count,) = shape_of(inputs[0])
    positions = build.cast(build.emit(graph.IotaOp(i64, [count], dim=0)), build.element(inputs[0]))
    into, rows = build.zeros(inputs[0], [count]), build.reshape(inputs[0], [count, 1])
    return [build.emit(graph.ScatterOp(into, rows, positions, dims=[0]))]


def reverse_sequence(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """ReverseSequence: in each row of the batch the first lengths elements run backwards."""
    needs(inputs, 2)
    x, lengths = inputs
    rank = len(shape_of(x))
    seq, batch = dim_of(node.integer("seq_dim"), rank), dim_of(node.integer("batch_dim", 0), rank)
    order = [batch, seq, *(d for d in range(rank) if d not in (batch, seq))]
    rows = build.transpose(x, order)
    grid = shape_of(rows)[:2]
    index = build.emit(graph.IotaOp(i64, grid, dim=1))
    count = build.emit(graph.BroadcastOp(build.cast(lengths, i64), dims=[0], shape=grid))
    back = build.binary("sub", build.binary("sub", count, index), build.number(1, index))
    inside = build.emit(graph.CompareOp(index, count, kind="lt"))
    chosen = build.reshape(build.emit(graph.SelectOp(inside, back, index)), [*grid, 1])
    picked = build.emit(graph.GatherOp(rows, chosen, dims=[1], batch=1))
    return [build.transpose(picked, [order.index(d) for d in range(rank)])]


def matrix_diag(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """MatrixDiag: rows as the diagonals of matrices of zeros."""
    needs(inputs, 1)
    shape = [*shape_of(inputs[0]), shape_of(inputs[0])[-1]]
    wide = build.emit(graph.BroadcastOp(inputs[0], dims=range(len(shape) - 1), shape=shape))
    return [build.emit(graph.SelectOp(_diagonal(build, shape), wide, build.number(0, wide)))]


def _diagonal(build: GraphBuilder, shape: list[int]) -> SSAValue:
    rows, columns = (build.emit(graph.IotaOp(i64, shape, dim=len(shape) - back)) for back in (2, 1))
    return build.emit(graph.CompareOp(rows, columns, kind="eq"))


def matrix_set_diag(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """MatrixSetDiag: matrices with another main diagonal."""
    needs(inputs, 2)
    x, row = inputs
    shape = list(shape_of(x))
    padding = [0] * (len(shape) - 2)
    grown = build.emit(
        graph.PadOp(row, build.zeros(row, []), low=[*padding, 0], high=[*padding, shape[-2] - shape_of(row)[-1]])
    )
    dims = [*range(len(shape) - 2), len(shape) - 2]
    wide = build.emit(graph.BroadcastOp(grown, dims=dims, shape=shape))
    return [build.emit(graph.SelectOp(_diagonal(build, shape), wide, x))]


def matrix_diag_part(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """MatrixDiagPart: the main diagonals."""
    needs(inputs, 1)
    shape = list(shape_of(inputs[0]))
    count, last = min(shape[-2:]), len(shape) - 1
    square = build.cut(build.cut(inputs[0], last, 0, count), last - 1, 0, count)
    on = _diagonal(build, list(shape_of(square)))
    kept = build.emit(graph.SelectOp(on, square, build.number(0, square)))
    return [build.emit(graph.ReduceOp(kept, kind="sum", dims=[last]))]
