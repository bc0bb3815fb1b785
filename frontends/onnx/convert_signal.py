"""Converters: Fourier transforms, window functions, the mel scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import helper
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array, element_type_of, numpy_dtype
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.computed import chosen, taken
from stepwell.frontends.onnx.convert_elementwise import Converter
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node, held


def dft(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """DFT: the axis is an attribute before opset 20, an input from then on, which may be computed where the result is declared."""
    x = build.value(node, 0)
    rank = len(shape_of(x))
    inverse, onesided = bool(node.integer("inverse", 0)), bool(node.integer("onesided", 0))
    length = int(build.constant(node, 1, "dft_length").item()) if node.has_input(1) else None

    def along(dim: int) -> graph.DftOp:
        extent = shape_of(x)[dim]
        whole = length if length is not None else 2 * (extent - 1) if inverse and onesided else extent
        return graph.DftOp(x, dim=dim, length=whole, inverse=inverse, onesided=onesided)

    if shapes := build.decided(node, 2) if node.opset >= 20 else None:
        made = [(dim, along(dim)) for dim in range(rank - 1) if not (onesided and inverse and shape_of(x)[dim] < 2)]
        fits = [([dim], build.emit(op)) for dim, op in made if shape_of(op.result) == shapes[0]]
        if not fits:
            raise Unsupported(
                f"axis is computed from the network's inputs, and none gives the declared shape {list(shapes[0])}"
            )
        if len(fits) == 1:
            return [fits[0][1]]
        return [chosen(build, build.reshape(build.cast(build.value(node, 2), i64), [1]), rank, fits)]
    axis = node.integer("axis", 1) if node.opset < 20 else -2
    if node.opset >= 20 and node.has_input(2):
        axis = int(build.constant(node, 2, "axis").item())
    return [build.emit(along(dim_of(axis, rank)))]


def stft(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """STFT: frames cut out at every step, times the window, transformed; the step may be computed where the result is declared."""
    x = build.value(node, 0)
    shape = shape_of(x)
    window = build.value(node, 2) if node.has_input(2) else None
    if node.has_input(3):
        length = int(build.constant(node, 3, "frame_length").item())
    elif window is not None:
        length = shape_of(window)[0]
    else:
        raise Unsupported("neither window nor frame_length is given")
    onesided = bool(node.integer("onesided", 1))
    if shapes := build.decided(node, 1):
        frames, step = shapes[0][1], build.value(node, 1)
    else:
        known = int(build.constant(node, 1, "frame_step").item())
        if known < 1 or length > shape[1]:
            raise Unsupported(f"frames of {length} elements, {known} apart, of a signal of {shape[1]}")
        frames, step = (shape[1] - length) // known + 1, build.literal(np.asarray(known, np.int64))
    grid = [frames, length]
    starts, within = (build.emit(graph.IotaOp(i64, grid, dim=dim)) for dim in (0, 1))
    places = build.binary("add", build.binary("mul", starts, build.reshape(build.cast(step, i64), [])), within)
    cut = taken(
        build,
        build.reshape(x, [*shape[:2], shape[2] if len(shape) > 2 else 1]),
        build.reshape(places, [frames * length]),
        1,
    )
    cut = build.reshape(cut, [shape[0], frames, length, shape_of(cut)[2]])
    if window is not None:
        cut = build.binary("mul", cut, build.along(window, 2, cut))
    return [build.emit(graph.DftOp(cut, dim=2, length=length, onesided=onesided))]


def window_function(factors: Sequence[float]) -> Converter:
    """HannWindow and its kin: a sum of cosines of multiples of the angle, their factors given; a constant."""

    def convert(node: Node, build: GraphBuilder) -> list[SSAValue]:
        """A window of so many elements, which fold to a constant, or are declared."""
        shapes = build.decided(node, 0)
        count = shapes[0][0] if shapes else int(build.constant(node, 0, "size").item())
        code, periodic = node.integer("output_datatype", 1), node.integer("periodic", 1)
        held(count, "a window")
        if count < 0:
            raise Unsupported(f"size {count} must not be negative")
        angle = 2 * np.pi * np.arange(count) / max(1, count if periodic else count - 1)
        values = sum((factor * np.cos(k * angle) for k, factor in enumerate(factors)), np.zeros(count))
        return [build.literal(values.astype(helper.tensor_dtype_to_np_dtype(code)))]

    return convert


def mel_weight_matrix(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """MelWeightMatrix: a constant, its five inputs constants."""
    names = ("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz")
    bins, length, rate, low, high = (build.constant(node, k, name).item() for k, name in enumerate(names))
    if bins < 1 or length < 1 or rate <= 0 or not 0 <= low < high:
        raise Unsupported(f"{bins} bins between {low} and {high} Hz at {rate} samples are no mel scale")
    held(int(bins) * (int(length) // 2 + 1), "mel weights")
    values = _mel_weights(int(bins), int(length), rate, low, high)
    return [
        build.literal(
            values.astype(
                numpy_dtype(element_type_of(helper.tensor_dtype_to_np_dtype(node.integer("output_datatype", 1))))
            )
        )
    ]


def _mel_weights(bins: int, length: int, rate: float, low: float, high: float) -> Array:
    """[length / 2 + 1, bins]: triangles between neighbouring mel frequencies (2595 log10(1 + f / 700)), as ONNX's reference places them."""
    spectrum = length // 2 + 1
    lowest, highest = (2595 * np.log10(1 + hertz / 700) for hertz in (low, high))
    mels = np.arange(bins + 2) * ((highest - lowest) / (bins + 2)) + lowest
    places = np.floor((length + 1) * (700 * (np.power(10, mels / 2595) - 1)) / rate).astype(np.int64)
    made = np.zeros((spectrum, bins))
    for column in range(bins):
        first, middle, last = places[column : column + 3]
        if middle == first:
            made[middle, column] = 1
        for row in range(first, middle + 1):
            made[row, column] = (row - first) / (middle - first) if middle != first else made[row, column]
        for row in range(middle, last):
            made[row, column] = (last - row) / (last - middle)
    return made
