"""Ops that only move elements as linalg: copies through index maps, and views."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineMap

from stepwell.dialects import graph
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder, dims
from stepwell.transforms.tensors import element_of, shape_of


def convert_broadcast(op: graph.BroadcastOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A generic that yields its input through a projected map."""
    shape = shape_of(op.result)
    maps = [AffineMap(len(shape), 0, tuple(dims(*op.dims))), AffineMap.identity(len(shape))]
    return build.generic(operands, build.empty(shape, element_of(op.result)), maps, 0, lambda s: ([], s[0]))


def convert_transpose(op: graph.TransposeOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A generic that yields its input through a permuted map: input dim permutation[i] is loop i."""
    shape = shape_of(op.result)
    loops = sorted(range(len(shape)), key=lambda i: op.permutation[i])
    maps = [AffineMap(len(shape), 0, tuple(dims(*loops))), AffineMap.identity(len(shape))]
    return build.generic(operands, build.empty(shape, element_of(op.result)), maps, 0, lambda s: ([], s[0]))


def convert_reshape(op: graph.ReshapeOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """tensor.collapse_shape and tensor.expand_shape."""
    return build.reshape(operands[0], shape_of(op.result))
