"""Contractions and pools on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stepwell.dialects.graph import windows
from stepwell.dialects.graph.interpretation import Results, Settings, Table, accumulator
from stepwell.dialects.graph.ops_contraction import ConvOp, MatmulOp
from stepwell.dialects.graph.ops_transposed import ConvTransposeOp
from stepwell.dialects.graph.ops_window import ArgPoolOp, Pooling, PoolOp
from stepwell.dialects.numpy_types import Array, is_float_dtype


def channels_last(x: Array, layout: str) -> Array:
    """[N,C,*] as [N,*,C]."""
    return x if layout == "channels_last" else np.moveaxis(x, 1, -1)


def as_layout(x: Array, layout: str) -> Array:
    """[N,*,C] in its layout, contiguous."""
    return x if layout == "channels_last" else np.ascontiguousarray(np.moveaxis(x, -1, 1))


def spatial(shape: Sequence[int], layout: str) -> tuple[int, ...]:
    """The spatial extents."""
    return tuple(shape[1:-1] if layout == "channels_last" else shape[2:])


def _conv(op: ConvOp, operands: Sequence[Array], settings: Settings) -> Results:
    dtype = accumulator(settings.dtype(op.result.type))
    x, filter = (channels_last(array, op.layout).astype(dtype, copy=False) for array in operands)
    out = spatial(settings.shape(op.result.type), op.layout)
    rank = len(op.strides)
    made = windows.convolve(x, filter, op.strides, op.pads[:rank], op.dilations, op.groups, out)
    return (settings.rounded(as_layout(made, op.layout), op.result.type),)


def _conv_transpose(op: ConvTransposeOp, operands: Sequence[Array], settings: Settings) -> Results:
    dtype = accumulator(settings.dtype(op.result.type))
    x, filter = (channels_last(array, op.layout).astype(dtype, copy=False) for array in operands)
    made = windows.convolve_transposed(x, filter, op.strides, op.pads, op.dilations, op.groups, op.extents)
    return (settings.rounded(as_layout(made, op.layout), op.result.type),)


def _matmul(op: MatmulOp, operands: Sequence[Array], settings: Settings) -> Results:
    dtype = accumulator(settings.dtype(op.result.type))
    a, b = (array.astype(dtype, copy=False) for array in operands)
    return (settings.rounded(windows.product(a, np.swapaxes(b, -1, -2) if op.transpose_b else b), op.result.type),)


def _window(op: Pooling, operands: Sequence[Array]) -> tuple[Array, tuple[int, ...]]:
    x = channels_last(operands[0], op.layout)
    assert isinstance(op, PoolOp | ArgPoolOp)
    result = op.results[0].type
    return x, spatial(result.get_shape(), op.layout)  # type: ignore[attr-defined]


def _pool(op: PoolOp, operands: Sequence[Array], settings: Settings) -> Results:
    x, out = _window(op, operands)
    window = (op.kernel, op.strides, op.pads, op.dilations, out)
    if op.kind == "max":
        made = windows.pool_max(x, *window)
        return (as_layout(made, op.layout),)
    wide = x.astype(accumulator(x.dtype), copy=False) if is_float_dtype(x.dtype) else x
    if op.kind == "sum":
        made = windows.pool_sum(wide, *window)
    else:
        made = windows.pool_average(wide, *window, op.count_include_pad)
    return (settings.rounded(as_layout(made, op.layout), op.result.type),)


def _arg_pool(op: ArgPoolOp, operands: Sequence[Array], settings: Settings) -> Results:
    x, out = _window(op, operands)
    values, positions = windows.pool_argmax(x, op.kernel, op.strides, op.pads, op.dilations, out)
    return as_layout(values, op.layout), as_layout(positions, op.layout)


TABLE: Table = {ConvOp: _conv, ConvTransposeOp: _conv_transpose, MatmulOp: _matmul, PoolOp: _pool, ArgPoolOp: _arg_pool}
