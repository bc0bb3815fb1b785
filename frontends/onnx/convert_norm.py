"""Converters: p-norms of windows and of dims, transposed convolution, transforms, matrices."""

from __future__ import annotations

from onnx import helper
from xdsl.dialects.builtin import i1, i8, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import element_type_of, ui8
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.convert_window import spatial_of, window
from stepwell.frontends.onnx.node import Node


def _powers(build: GraphBuilder, x: SSAValue, p: float) -> SSAValue:
    """|x| to the power of p."""
    if p == 2:
        return build.binary("mul", x, x)
    size = build.unary("abs", x)
    return size if p == 1 else build.binary("pow", size, build.number(p, x))


def _root(build: GraphBuilder, total: SSAValue, p: float) -> SSAValue:
    if p == 2:
        return build.unary("sqrt", total)
    return total if p == 1 else build.binary("pow", total, build.number(1 / p, total))


def _order(node: Node) -> float:
    """p, which was a float before opset 2."""
    return node.number("p", 2.0) if node.opset < 2 else node.integer("p", 2)


def lp_pool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """LpPool: the p-norm of each window."""
    x, p = build.value(node, 0), _order(node)
    return [_root(build, build.emit(graph.PoolOp(_powers(build, x, p), kind="sum", **window(node, x))), p)]


def global_lp_pool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """GlobalLpPool: the p-norm of each plane."""
    x, p = build.value(node, 0), _order(node)
    spatial = spatial_of(x)
    dims = list(range(2, 2 + len(spatial)))
    total = build.emit(graph.ReduceOp(_powers(build, x, p), kind="sum", dims=dims))
    return [build.reshape(_root(build, total, p), [*shape_of(total), *[1] * len(spatial)])]


def lp_normalization(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """LpNormalization: x divided by the p-norm along one dim; 0 where that is 0."""
    x, p = build.value(node, 0), node.integer("p", 2)
    shape = shape_of(x)
    dim = dim_of(node.integer("axis", -1), len(shape))
    norm = _root(build, build.emit(graph.ReduceOp(_powers(build, x, p), kind="sum", dims=[dim])), p)
    spread = build.emit(graph.BroadcastOp(norm, dims=[d for d in range(len(shape)) if d != dim], shape=shape))
    nothing = build.emit(graph.CompareOp(spread, build.number(0, spread), kind="eq"))
    return [build.emit(graph.SelectOp(nothing, build.number(0, x), build.binary("div", x, spread)))]


def conv_transpose(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """ConvTranspose: graph.conv_transpose, and the bias as a broadcast and an addition."""
    x, filter = build.value(node, 0), build.value(node, 1)
    spatial, kernel = spatial_of(x), shape_of(filter)[2:]
    rank = len(spatial)
    if node.integers("kernel_shape", kernel) != kernel:
        raise Unsupported(f"kernel_shape differs from the filter {list(shape_of(filter))}")
    ones = (1,) * rank
    strides, dilations = node.integers("strides", ones), node.integers("dilations", ones)
    more = node.integers("output_padding", (0,) * rank)
    if not len(strides) == len(dilations) == len(more) == rank:
        raise Unsupported(f"strides, dilations or output_padding do not have {rank} values")
    sizes = zip(spatial, kernel, strides, dilations, strict=True)
    plane = [(extent - 1) * stride + (k - 1) * dilation + 1 for extent, k, stride, dilation in sizes]
    begins, extents = _transposed_extents(
        node, [extent * s for extent, s in zip(spatial, strides, strict=True)], plane, more
    )
    ends = [max(0, whole - begin - extent) for whole, begin, extent in zip(plane, begins, extents, strict=True)]
    result = build.emit(
        graph.ConvTransposeOp(
            x,
            filter,
            strides=strides,
            pads=[*begins, *ends],
            dilations=dilations,
            extents=extents,
            groups=node.integer("group", 1),
        )
    )
    if not node.has_input(2):
        return [result]
    bias = build.emit(graph.BroadcastOp(build.value(node, 2), dims=[1], shape=shape_of(result)))
    return [build.binary("add", result, bias)]


def _transposed_extents(
    node: Node, same: list[int], plane: list[int], more: tuple[int, ...]
) -> tuple[list[int], list[int]]:
    """What is cut off before each dim, and the extents of the result, from pads, or from output_shape or auto_pad."""
    mode, rank = node.text("auto_pad", "NOTSET"), len(plane)
    pads = node.integers("pads", (0,) * (2 * rank))
    wanted = list(node.integers("output_shape", ()))[-rank:] or (same if mode.startswith("SAME") else [])
    if not wanted:
        begins = list(pads[:rank])
        return begins, [plane[d] - pads[d] - pads[rank + d] + more[d] for d in range(rank)]
    totals = [max(0, plane[d] + more[d] - wanted[d]) for d in range(rank)]
    return [total // 2 if mode == "SAME_UPPER" else total - total // 2 for total in totals], wanted


def determinant(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Det: graph.determinant of each matrix."""
    return [build.emit(graph.DeterminantOp(build.value(node, 0)))]


def bit_cast(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """BitCast: graph.bitcast; a truth is a byte."""
    element, x = element_type_of(helper.tensor_dtype_to_np_dtype(node.integer("to", 0))), build.value(node, 0)
    if build.element(x) == i1 and element in (i8, ui8):
        return [build.cast(x, element)]
    if element == i1 and build.element(x) in (i8, ui8):
        return [build.emit(graph.CompareOp(x, build.number(0, x), kind="ne"))]
    return [build.emit(graph.BitcastOp(build.value(node, 0), element))]


def eye_like(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """EyeLike: 1 where column = row + k."""
    x = build.value(node, 0)
    code = node.integer("dtype", 0)
    element = element_type_of(helper.tensor_dtype_to_np_dtype(code)) if code else build.element(x)
    rows, columns = (build.emit(graph.IotaOp(i64, shape_of(x), dim=dim)) for dim in (0, 1))
    diagonal = build.binary("add", rows, build.number(node.integer("k", 0), rows))
    return [build.cast(build.emit(graph.CompareOp(columns, diagonal, kind="eq")), element)]
