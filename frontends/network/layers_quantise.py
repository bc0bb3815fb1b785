"""Layers between floats and scaled integers, attention, and slopes that are weights."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import shape_of
from stepwell.frontends.network.build import NetworkBuilder
from stepwell.frontends.network.core import NetworkCore
from stepwell.frontends.network.tensor import Tensor, Weights, axis_in, element_named


def _per_axis(build: NetworkBuilder, scale: Weights, like: SSAValue, axis: int | None) -> tuple[SSAValue, list[int]]:
    """The scale as a scalar, or as one number a position of an axis; and the dims that it has."""
    if axis is None:
        return build.parameter("scale", scale, like, []), []
    dim = axis_in(axis, len(shape_of(like)))
    return build.parameter("scale", scale, like, [shape_of(like)[dim]]), [dim]


class QuantiseLayers(NetworkCore):
    """Zero points are those of TensorRT, 0, unless they are given."""

    def add_quantize(
        self,
        input: Tensor,
        scale: Weights,
        zero: Weights | None = None,
        *,
        axis: int | None = None,
        dtype: Any = "i8",
        name: str = "",
    ) -> Tensor:
        """round(x / scale) + zero, within the bounds of `dtype`; one scale, or one a position of `axis`."""
        with self._layer("quantize", name, input, also=(scale, zero)) as build:
            scales, dims = _per_axis(build, scale, input.value, axis)
            blank = build.emit(graph.ConstantOp(0, element_named(dtype)))
            shape = shape_of(scales)
            zeros = build.broadcast(blank, shape) if zero is None else build.parameter("zero", zero, blank, shape)
            return self._result(build.emit(graph.QuantizeOp(input.value, scales, zeros, dims=dims)))

    def add_dequantize(
        self,
        input: Tensor,
        scale: Weights,
        zero: Weights | None = None,
        *,
        axis: int | None = None,
        dtype: Any = "f32",
        name: str = "",
    ) -> Tensor:
        """(x - zero) * scale in the float type `dtype`; one scale, or one a position of `axis`."""
        with self._layer("dequantize", name, input, also=(scale, zero)) as build:
            extents = [] if axis is None else [input.shape[axis_in(axis, len(input.shape))]]
            dims = [] if axis is None else [axis_in(axis, len(input.shape))]
            like = build.emit(graph.ConstantOp(0, element_named(dtype)))
            scales = build.parameter("scale", scale, like, extents)
            blank = build.emit(graph.ConstantOp(0, build.element(input.value)))
            zeros = build.broadcast(blank, extents) if zero is None else build.parameter("zero", zero, blank, extents)
            return self._result(build.emit(graph.DequantizeOp(input.value, scales, zeros, dims=dims)))

    def add_parametric_relu(self, input: Tensor, slopes: Weights, *, axis: int = 1, name: str = "") -> Tensor:
        """x where it is not negative, else x times the slope of its channel, or times the only slope."""
        with self._layer("parametric_relu", name, input, also=(slopes,)) as build:
            x, dim = input.value, axis_in(axis, len(input.shape))
            several = isinstance(slopes, Tensor) or getattr(slopes, "size", 1) != 1 or isinstance(slopes, list | tuple)
            held = build.parameter("slopes", slopes, x, [input.shape[dim]] if several else [])
            spread = build.along(held, dim, x) if several else build.broadcast(held, input.shape)
            below = build.emit(graph.BinaryOp(x, spread, kind="mul"))
            return self._result(build.select(build.compare("ge", x, build.number(0, x)), x, below))

    def add_attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        scale: float | None = None,
        name: str = "",
    ) -> Tensor:
        """softmax(scale * Q K^T + mask) V of query [B, H, S, D], key [B, G, T, D] and value [B, G, T, E], where H is a multiple of G: [B, H, S, E]. The scale is 1 / sqrt(D) unless it is
        given; a mask is added, or says what is seen where it is i1; `causal`: a query sees keys up to its own position."""
        with self._layer("attention", name, query, key, value, also=(mask,)) as build:
            width = query.shape[-1] if query.shape else 1
            op = graph.AttentionOp(
                query.value,
                key.value,
                value.value,
                None if mask is None else mask.value,
                scale=max(width, 1) ** -0.5 if scale is None else scale,
                causal=causal,
            )
            return self._result(build.emit(op))
