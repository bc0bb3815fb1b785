"""Converters: nodes that move or name data."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import numpy_helper
from xdsl.dialects.builtin import i1
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, Item, shape_of
from stepwell.frontends.onnx.convert_random import dropout as dropped
from stepwell.frontends.onnx.node import Node


def identity(node: Node, build: GraphBuilder) -> list[Item]:
    """Identity: the value itself."""
    return [build.item(node, 0)]


def dropout(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Dropout: the value itself, as always when a network is run and not trained; the mask is all true. With training_mode by random numbers."""
    if node.has_input(2) and bool(build.constant(node, 2, "training_mode")):
        return dropped(node, build)
    node.ignore("ratio", "seed", "is_test")
    x = build.value(node, 0)
    if not node.has_output(1):
        return [x]
    mask = build.number_of(True, i1, x)
    return [x, mask if node.opset >= 10 else build.cast(mask, build.element(x))]


def flatten(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Flatten: the dims before `axis` become the first, the others the second."""
    x = build.value(node, 0)
    shape = shape_of(x)
    axis = node.integer("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    if not 0 <= axis <= len(shape):
        raise Unsupported(f"axis {axis} is outside [0, {len(shape)}]")
    return [build.reshape(x, (prod(shape[:axis]), prod(shape[axis:])))]


def reshape(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Reshape to a constant shape, or to the declared one; 0 keeps an extent (unless `allowzero`), one -1 is found from the others."""
    x = build.value(node, 0)
    if shapes := build.decided(node, 1):
        node.ignore("allowzero")
        return [build.reshape(x, shapes[0])]
    before = shape_of(x)
    old = list(node.integers("shape", ())) if node.opset < 5 else None
    wanted = old if old is not None else [int(v) for v in build.constant(node, 1, "shape").reshape(-1)]
    if not node.integer("allowzero", 0):
        if any(extent == 0 and d >= len(before) for d, extent in enumerate(wanted)):
            raise Unsupported(f"shape {wanted} keeps a dim that the operand {list(before)} does not have")
        wanted = [before[d] if extent == 0 else extent for d, extent in enumerate(wanted)]
    if wanted.count(-1) > 1 or any(extent < -1 for extent in wanted):
        raise Unsupported(f"shape {wanted} is no shape: at most one extent may be -1")
    if -1 in wanted:
        rest = prod(extent for extent in wanted if extent != -1)
        if rest == 0 or prod(before) % rest:
            raise Unsupported(f"{list(before)} cannot be reshaped to {wanted}")
        wanted[wanted.index(-1)] = prod(before) // rest
    return [build.reshape(x, wanted)]


def dim_of(axis: int, rank: int) -> int:
    """An axis counted from the front; Unsupported when it is outside."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} is outside [{-rank}, {rank})")
    return axis % rank


def _axes(node: Node, build: GraphBuilder) -> list[int] | None:
    """The axes of Squeeze and Unsqueeze: an input from opset 13 on, an attribute before; None when they are left out."""
    if node.opset < 13:
        return list(node.integers("axes", ())) if node.has("axes") else None
    return [int(v) for v in build.constant(node, 1, "axes").reshape(-1)] if node.has_input(1) else None


def squeeze(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Squeeze: extents of 1 go, all or those of `axes`."""
    x = build.value(node, 0)
    if shapes := build.decided(node, 1):
        return [build.reshape(x, shapes[0])]
    shape = shape_of(x)
    axes = _axes(node, build)
    gone = [d for d, e in enumerate(shape) if e == 1] if axes is None else [dim_of(a, len(shape)) for a in axes]
    if any(shape[d] != 1 for d in gone):
        raise Unsupported(f"axes {gone} of {list(shape)} do not all have extent 1")
    return [build.reshape(x, [extent for d, extent in enumerate(shape) if d not in gone])]


def unsqueeze(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Unsqueeze: extents of 1 come in at `axes` of the result."""
    x = build.value(node, 0)
    if shapes := build.decided(node, 1):
        return [build.reshape(x, shapes[0])]
    shape = list(shape_of(x))
    axes = _axes(node, build) or []
    rank = len(shape) + len(axes)
    for axis in sorted(dim_of(axis, rank) for axis in axes):
        shape.insert(axis, 1)
    return [build.reshape(x, shape)]


def transpose(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Transpose; without `perm` the dims are reversed."""
    x = build.value(node, 0)
    permutation = node.integers("perm", tuple(reversed(range(len(shape_of(x))))))
    if permutation == tuple(range(len(permutation))):
        return [x]
    return [build.emit(graph.TransposeOp(x, permutation))]


def constant_of(node: Node) -> Array:
    """The array of a Constant node."""
    if node.has("value"):
        return numpy_helper.to_array(node.value("value"))
    if node.has("value_float") or node.has("value_floats"):
        return np.asarray(node.value("value_float" if node.has("value_float") else "value_floats"), np.float32)
    if node.has("value_int") or node.has("value_ints"):
        return np.asarray(node.value("value_int" if node.has("value_int") else "value_ints"), np.int64)
    raise Unsupported(
        f"attribute {', '.join(node.unread()) or 'value'} is not supported: give the constant as a dense tensor"
    )
