"""Converters: linear attention."""

from __future__ import annotations

from math import sqrt

from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.node import Node


def _heads(build: GraphBuilder, x: SSAValue, heads: int) -> SSAValue:
    """[B, T, H * D] as [B, H, T, D]."""
    batch, steps, width = shape_of(x)
    if heads < 1 or width % heads:
        raise Unsupported(f"{heads} heads do not divide a width of {width}")
    return build.transpose(build.reshape(x, [batch, steps, heads, width // heads]), [0, 2, 1, 3])


def linear_attention(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """LinearAttention: heads out of the last dim, graph.linear_attention, heads back into it."""
    node.ignore("chunk_size")
    rule, heads, shared = (
        node.text("update_rule", "gated_delta"),
        node.integer("q_num_heads", 0),
        node.integer("kv_num_heads", 0),
    )
    if rule not in ("linear", "gated", "delta", "gated_delta"):
        raise Unsupported(f"update_rule {rule!r} is none of linear, gated, delta, gated_delta")
    q = _heads(build, build.value(node, 0), heads)
    k, v = (_heads(build, build.value(node, index), shared) for index in (1, 2))
    batch, _, steps, depth = shape_of(k)
    scale = node.number("scale", 0.0) or 1 / sqrt(shape_of(q)[3])
    state = build.value(node, 3) if node.has_input(3) else build.zeros(v, [batch, shared, depth, shape_of(v)[3]])
    decay = _heads(build, build.value(node, 4), shared) if "gated" in rule else None
    beta = None
    if "delta" in rule:
        rate = build.value(node, 5)
        rate = build.broadcast(rate, [batch, steps, shared])
        beta = _heads(build, rate, shared)
    made, last = build.emit_all(graph.LinearAttentionOp(q, k, v, state, decay, beta, rule=rule, scale=scale))
    width = heads * shape_of(made)[3]
    return [build.reshape(build.transpose(made, [0, 2, 1, 3]), [batch, steps, width]), last]
