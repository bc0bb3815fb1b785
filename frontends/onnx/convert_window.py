"""Converters: Conv and the pools."""

from __future__ import annotations

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


def _spatial(x: SSAValue) -> Ints:
    shape = shape_of(x)
    if len(shape) < 3:
        raise Unsupported(f"the input has rank {len(shape)}: batch, channels and spatial dims are needed")
    return shape[2:]


def conv(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Conv: graph.conv, and the bias as a broadcast and an addition."""
    x, filter = build.value(node, 0), build.value(node, 1)
    spatial = _spatial(x)
    ones = (1,) * len(spatial)
    kernel = node.integers("kernel_shape", shape_of(filter)[2:])
    if kernel != shape_of(filter)[2:]:
        raise Unsupported(f"kernel_shape {list(kernel)} differs from the filter {list(shape_of(filter))}")
    strides, dilations = node.integers("strides", ones), node.integers("dilations", ones)
    if not len(kernel) == len(strides) == len(dilations) == len(spatial):
        raise Unsupported(f"kernel, strides or dilations do not have {len(spatial)} values, as the input's dims need")
    result = build.emit(
        graph.ConvOp(
            x,
            filter,
            strides=strides,
            pads=explicit_pads(node, spatial, kernel, strides, dilations),
            dilations=dilations,
            groups=node.integer("group", 1),
        )
    )
    if not node.has_input(2):
        return [result]
    bias = build.emit(graph.BroadcastOp(build.value(node, 2), dims=[1], shape=shape_of(result)))
    return [build.emit(graph.BinaryOp(result, bias, kind="add"))]


def _pool(node: Node, build: GraphBuilder, kind: str, count_include_pad: bool) -> list[SSAValue]:
    x = build.value(node, 0)
    spatial = _spatial(x)
    ones = (1,) * len(spatial)
    kernel, strides = node.integers("kernel_shape", ()), node.integers("strides", ones)
    dilations = node.integers("dilations", ones)
    if not len(kernel) == len(strides) == len(dilations) == len(spatial):
        raise Unsupported(
            f"kernel_shape, strides or dilations do not have {len(spatial)} values, as the input's dims need"
        )
    pool = graph.PoolOp(
        x,
        kind=kind,
        kernel=kernel,
        strides=strides,
        pads=explicit_pads(node, spatial, kernel, strides, dilations),
        dilations=dilations,
        ceil=bool(node.integer("ceil_mode", 0)),
        count_include_pad=count_include_pad,
    )
    return [build.emit(pool)]


def max_pool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """MaxPool: graph.pool max; the second output, the indices, is refused."""
    if node.has_output(1):
        raise Unsupported("the second output (Indices) is not computed: remove what uses it")
    node.ignore("storage_order")
    return _pool(node, build, "max", False)


def average_pool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """AveragePool: graph.pool average; `count_include_pad` says whether padding counts."""
    return _pool(node, build, "average", bool(node.integer("count_include_pad", 0)))


def _global_pool(node: Node, build: GraphBuilder, kind: str) -> list[SSAValue]:
    x = build.value(node, 0)
    spatial = _spatial(x)
    ones, none = (1,) * len(spatial), (0,) * (2 * len(spatial))
    return [build.emit(graph.PoolOp(x, kind=kind, kernel=spatial, strides=ones, pads=none))]


def global_average_pool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """GlobalAveragePool: graph.pool average with one window over all spatial dims."""
    return _global_pool(node, build, "average")


def global_max_pool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """GlobalMaxPool: graph.pool max with one window over all spatial dims."""
    return _global_pool(node, build, "max")
