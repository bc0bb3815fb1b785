"""Converters: random numbers. They are a function of the node's seed and of what its result is called, the same in every run."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from zlib import crc32

import numpy as np
from onnx import helper
from xdsl.dialects.builtin import f32, i1
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import FLOATS, element_type_of
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.node import Node


def _uniform(node: Node, build: GraphBuilder, element: Attribute, shape: Sequence[int], part: int = 0) -> SSAValue:
    """Uniform numbers in [0, 1) by the node's seed; `part` tells several draws of one node apart."""
    if not node.has("seed"):
        raise Unsupported("it has no seed, and random numbers are a function of one: give the node a seed")
    seed = node.value("seed")
    if not isinstance(seed, int | float):
        raise Unsupported(f"attribute 'seed' is {seed!r}: it must be a number")
    number = seed if isinstance(seed, int) else int(np.float32(seed).view(np.int32))
    if element not in FLOATS:
        raise Unsupported(f"random numbers of {element} are not supported: floats are")
    own = 256 * crc32(node.outputs[0].encode()) + part
    key = build.literal(np.array([number, own], np.int64))
    return build.emit(graph.RandomOp(key, element, shape))


def _target(node: Node, build: GraphBuilder) -> tuple[Attribute, Sequence[int]]:
    """Element type and shape: an attribute's, or those of the input."""
    like = build.value(node, 0) if node.has_input(0) else None
    shape = shape_of(like) if like is not None else node.integers("shape", ())
    if like is not None and not node.has("dtype"):
        return build.element(like), shape
    return element_type_of(helper.tensor_dtype_to_np_dtype(node.integer("dtype", 1))), shape


def uniform(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """RandomUniform and RandomUniformLike: low + (high - low) u."""
    element, shape = _target(node, build)
    low, high = node.number("low", 0.0), node.number("high", 1.0)
    made = _uniform(node, build, element, shape)
    return [build.binary("add", build.binary("mul", made, build.number(high - low, made)), build.number(low, made))]


def normal(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """RandomNormal and RandomNormalLike: mean + scale sqrt(-2 log(1 - u)) cos(2 pi v) (Box and Muller, 1958)."""
    element, shape = _target(node, build)
    u, v = (_uniform(node, build, element, shape, part) for part in (0, 1))
    size = build.unary(
        "sqrt", build.binary("mul", build.unary("log", build.binary("sub", build.number(1, u), u)), build.number(-2, u))
    )
    made = build.binary("mul", size, build.unary("cos", build.binary("mul", v, build.number(2 * pi, v))))
    scaled = build.binary("mul", made, build.number(node.number("scale", 1.0), made))
    return [build.binary("add", scaled, build.number(node.number("mean", 0.0), scaled))]


def bernoulli(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Bernoulli: 1 where u is below the probability."""
    x = build.value(node, 0)
    code = node.integer("dtype", 0)
    element = element_type_of(helper.tensor_dtype_to_np_dtype(code)) if code else build.element(x)
    hit = build.emit(graph.CompareOp(_uniform(node, build, build.element(x), shape_of(x)), x, kind="lt"))
    return [hit if element == i1 else build.cast(hit, element)]


def multinomial(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Multinomial: classes drawn by the arg max of logits - log(-log u) (Gumbel, 1954)."""
    logits = build.cast(build.value(node, 0), f32)
    if len(shape_of(logits)) != 2:
        raise Unsupported(f"the operand has shape {list(shape_of(logits))}: it must be [batch, classes]")
    batch, classes = shape_of(logits)
    shape = [batch, node.integer("sample_size", 1), classes]
    u = _uniform(node, build, f32, shape)
    u = build.binary("max", u, build.number(float(np.finfo(np.float32).tiny), u))
    noise = build.unary("neg", build.unary("log", build.unary("neg", build.unary("log", u))))
    spread = build.emit(graph.BroadcastOp(logits, dims=[0, 2], shape=shape))
    made = build.emit(graph.ArgReduceOp(build.binary("add", spread, noise), kind="max", dim=2))
    code = node.integer("dtype", 6)
    return [build.cast(made, element_type_of(helper.tensor_dtype_to_np_dtype(code)))]


def dropout(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Dropout in training_mode: what is kept divided by its share, and the mask."""
    x = build.value(node, 0)
    ratio = float(build.constant(node, 1, "ratio").item()) if node.has_input(1) else 0.5
    if not 0 <= ratio < 1:
        raise Unsupported(f"ratio {ratio:g} must lie in [0, 1)")
    if ratio == 0:
        node.ignore("seed")
        return [x, build.number_of(True, i1, x)]
    u = _uniform(node, build, f32, shape_of(x))
    kept = build.emit(graph.CompareOp(u, build.number(ratio, u), kind="ge"))
    scaled = build.binary("mul", x, build.number(1 / (1 - ratio), x))
    return [build.emit(graph.SelectOp(kept, scaled, build.number(0, x))), kept]
