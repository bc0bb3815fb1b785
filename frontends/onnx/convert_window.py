"""Converters: Conv and the pools."""

from __future__ import annotations

from math import prod
from typing import Any

from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.node import Node

Ints = tuple[int, ...]


def explicit_pads(node: Node, spatial: Ints, kernel: Ints, strides: Ints, dilations: Ints) -> Ints:
    """The pads that `pads` or `auto_pad` mean: all begins, then all ends. SAME_* pads so that out = ceil(in / stride)."""
    rank = len(spatial)
    mode = node.text("auto_pad", "NOTSET")
    given = node.integers("pads", (0,) * (2 * rank))
    if mode == "NOTSET":
        return given
    if mode == "VALID":
        return (0,) * (2 * rank)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"auto_pad {mode!r} is unknown")
    begins, ends = [], []
    for extent, k, stride, dilation in zip(spatial, kernel, strides, dilations, strict=True):
        total = max(0, (-(-extent // stride) - 1) * stride + (k - 1) * dilation + 1 - extent)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return (*begins, *ends)


def spatial_of(x: SSAValue) -> Ints:
    """The extents behind batch and channels."""
    shape = shape_of(x)
    if len(shape) < 3:
        raise Unsupported(f"the input has rank {len(shape)}: batch, channels and spatial dims are needed")
    return shape[2:]


def conv(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Conv: graph.conv, and the bias as a broadcast and an addition."""
    result = convolution(node, build, build.value(node, 0), build.value(node, 1))
    if not node.has_input(2):
        return [result]
    bias = build.emit(graph.BroadcastOp(build.value(node, 2), dims=[1], shape=shape_of(result)))
    return [build.emit(graph.BinaryOp(result, bias, kind="add"))]


def convolution(node: Node, build: GraphBuilder, x: SSAValue, filter: SSAValue) -> SSAValue:
    """The convolution that a node's attributes say."""
    spatial = spatial_of(x)
    ones = (1,) * len(spatial)
    kernel = node.integers("kernel_shape", shape_of(filter)[2:])
    if kernel != shape_of(filter)[2:]:
        raise Unsupported(f"kernel_shape {list(kernel)} differs from the filter {list(shape_of(filter))}")
    strides, dilations = node.integers("strides", ones), node.integers("dilations", ones)
    if not len(kernel) == len(strides) == len(dilations) == len(spatial):
        raise Unsupported(f"kernel, strides or dilations do not have {len(spatial)} values, as the input's dims need")
    return build.emit(
        graph.ConvOp(
            x,
            filter,
            strides=strides,
            pads=explicit_pads(node, spatial, kernel, strides, dilations),
            dilations=dilations,
            groups=node.integer("group", 1),
        )
    )


def window(node: Node, x: SSAValue) -> dict[str, Any]:
    """The window of a pool, as the attributes say."""
    spatial = spatial_of(x)
    ones = (1,) * len(spatial)
    kernel, strides = node.integers("kernel_shape", ()), node.integers("strides", ones)
    dilations = node.integers("dilations", ones)
    if not len(kernel) == len(strides) == len(dilations) == len(spatial):
        raise Unsupported(
            f"kernel_shape, strides or dilations do not have {len(spatial)} values, as the input's dims need"
        )
    pads = explicit_pads(node, spatial, kernel, strides, dilations)
    ceil = bool(node.integer("ceil_mode", 0))
    return {"kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations, "ceil": ceil}


def _pool(node: Node, build: GraphBuilder, kind: str, count_include_pad: bool) -> list[SSAValue]:
    x = build.value(node, 0)
    return [build.emit(graph.PoolOp(x, kind=kind, count_include_pad=count_include_pad, **window(node, x)))]


def max_pool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """MaxPool: graph.pool max, or with Indices graph.arg_pool, whose positions are counted on from plane to plane."""
    column_major = node.integer("storage_order", 0)
    if not node.has_output(1):
        return _pool(node, build, "max", False)
    x = build.value(node, 0)
    values, found = build.emit_all(graph.ArgPoolOp(x, **window(node, x)))
    spatial, made = spatial_of(x), shape_of(values)
    positions = _column_major(build, found, spatial) if column_major else found
    planes = build.emit(graph.IotaOp(i64, [made[0] * made[1]], dim=0))
    offsets = build.binary("mul", planes, build.number(prod(spatial), planes))
    spread = build.emit(graph.BroadcastOp(build.reshape(offsets, made[:2]), dims=[0, 1], shape=made))
    return [values, build.binary("add", positions, spread)]


def _column_major(build: GraphBuilder, positions: SSAValue, spatial: Ints) -> SSAValue:
    """Row-major positions in a plane as column-major ones, the first dim fastest."""
    result = build.number(0, positions)
    for d, extent in enumerate(spatial):
        index = build.binary("div", positions, build.number(prod(spatial[d + 1 :]), positions))
        own = build.binary("mod", index, build.number(extent, index))
        result = build.binary("add", result, build.binary("mul", own, build.number(prod(spatial[:d]), own)))
    return result


def average_pool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """AveragePool: graph.pool average; `count_include_pad` says whether padding counts."""
    return _pool(node, build, "average", bool(node.integer("count_include_pad", 0)))


def _global_pool(node: Node, build: GraphBuilder, kind: str) -> list[SSAValue]:
    x = build.value(node, 0)
    spatial = spatial_of(x)
    ones, none = (1,) * len(spatial), (0,) * (2 * len(spatial))
    return [build.emit(graph.PoolOp(x, kind=kind, kernel=spatial, strides=ones, pads=none))]


def global_average_pool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """GlobalAveragePool: graph.pool average with one window over all spatial dims."""
    return _global_pool(node, build, "average")


def global_max_pool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """GlobalMaxPool: graph.pool max with one window over all spatial dims."""
    return _global_pool(node, build, "max")
