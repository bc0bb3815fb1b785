"""What passes look for, planted whole: independent draws make `sigmoid(x) * x` in none of 200 networks.

A pattern continues from a value that is there, where it fits; what it makes may be used again, so that a pass meets it with taps and second consumers too.
With whole numbers a pattern keeps within the grower's bounds, or does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from xdsl.dialects.builtin import TensorType, f16, f32
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.testing.strategies.shapes import Shape, permutations

if TYPE_CHECKING:
    from stepwell.testing.strategies.graphs import Grower


def swish(grower: Grower, value: SSAValue) -> None:
    """x * sigmoid(x), either way round."""
    if "sigmoid" not in grower.kinds or not grower.is_float(value):
        return
    gate = grower.emit(graph.UnaryOp(value, kind="sigmoid"), 1)
    pair = (value, gate) if grower.draw(st.booleans()) else (gate, value)
    grower.combine(*pair, "mul")


def epilogue(grower: Grower, value: SSAValue) -> None:
    """A convolution or product with bias, a residual where types agree, and a relu: nothing left to chance."""
    made = grower.contraction(value)
    if made is None:
        return
    result, channel = made
    result = grower.combine(result, per_channel(grower, result, channel), "add")
    if result.type == value.type:
        result = grower.combine(result, value, "add")
    if "relu" in grower.kinds:
        grower.emit(graph.UnaryOp(result, kind="relu"), grower.bounds[result])


def batch_norm(grower: Grower, value: SSAValue) -> None:
    """A convolution or product, scaled and shifted per channel."""
    made = grower.contraction(value)
    if made is None:
        return
    result, channel = made
    scaled = grower.combine(result, per_channel(grower, result, channel), "mul")
    grower.combine(scaled, per_channel(grower, result, channel), "add")


def per_channel(grower: Grower, value: SSAValue, channel: int) -> SSAValue:
    """A weight of one number for each channel, repeated to the shape of `value`."""
    shape = shape_of(value)
    weight = grower.weight((shape[channel],))
    return grower.emit(graph.BroadcastOp(weight, dims=[channel], shape=shape), 1)


def inverse_transposes(grower: Grower, value: SSAValue) -> None:
    """A transpose, perhaps an elementwise op with a broadcast operand, and the inverse transpose."""
    rank = len(shape_of(value))
    order = grower.draw(permutations(rank))
    bound = grower.bounds[value]
    moved = grower.emit(graph.TransposeOp(value, order), bound)
    if grower.draw(st.booleans()) and rank and grower.is_plain(moved):
        moved = grower.combine(moved, per_channel(grower, moved, grower.draw(st.integers(0, rank - 1))), "add")
    inverse = sorted(range(rank), key=lambda dim: order[dim])
    grower.emit(graph.TransposeOp(moved, inverse), grower.bounds[moved])


def transposed_operands(grower: Grower, value: SSAValue) -> None:
    """Both operands of an elementwise op come through the same transpose."""
    if not grower.is_number(value):
        return
    order = grower.draw(permutations(len(shape_of(value))))
    partner = grower.draw(st.sampled_from([other for other in grower.values if other.type == value.type]))
    pair = [grower.emit(graph.TransposeOp(side, order), grower.bounds[side]) for side in (value, partner)]
    grower.combine(pair[0], pair[1], "add")


def flattened_product(grower: Grower, value: SSAValue) -> None:
    """The dims behind the first are permuted and flattened into K of a product (what exporters write between layouts); leading dims may move too."""
    shape = shape_of(value)
    if len(shape) < 2 or not grower.is_plain(value) or 0 in shape:
        return
    keep = grower.draw(st.sampled_from([0, 1, 1, 1]))
    order = (*range(keep), *(keep + dim for dim in grower.draw(permutations(len(shape) - keep))))
    moved = grower.emit(graph.TransposeOp(value, order), grower.bounds[value])
    now = shape_of(moved)
    first = grower.draw(st.integers(1, len(now) - 1))
    flat: Shape = (prod(now[:first]), prod(now[first:]))
    bound = grower.bounds[value] * flat[1]
    if not grower.room(bound):
        return
    view = grower.emit(graph.ReshapeOp(moved, flat), grower.bounds[value])
    columns, transposed = grower.draw(st.integers(1, 5)), grower.draw(st.booleans())
    weight = grower.weight((columns, flat[1]) if transposed else (flat[1], columns))
    grower.emit(graph.MatmulOp(view, weight, transpose_b=transposed), bound)


def shared_operand(grower: Grower, value: SSAValue) -> None:
    """One value on both sides of an op, or one weight behind two."""
    if not grower.is_number(value):
        return
    if grower.draw(st.booleans()) or not grower.is_plain(value):
        grower.combine(value, value, grower.draw(st.sampled_from(["add", "mul", "max", "sub"])))
        return
    weight = grower.weight(shape_of(value))
    grower.bounds[weight] = 1
    grower.combine(grower.combine(value, weight, "mul"), weight, "add")


def second_consumer(grower: Grower, value: SSAValue) -> None:
    """A value that goes into an op and, past it, into a sum with the result."""
    if not grower.is_number(value):
        return
    before = grower.values[-1]
    grower.unary(value)
    made = grower.values[-1]
    if made is not before and made.type == value.type:
        grower.combine(value, made, "add")


def weight_chain(grower: Grower, value: SSAValue) -> None:
    """A weight that is moved, viewed and rounded before its use."""
    shape = shape_of(value)
    if not grower.is_plain(value):
        return
    order = grower.draw(permutations(len(shape)))
    stored = tuple(shape[order.index(dim)] for dim in range(len(shape)))
    chain = grower.emit(graph.TransposeOp(grower.weight(stored), order), 1)
    if grower.draw(st.booleans()):
        chain = grower.emit(graph.CastOp(grower.emit(graph.CastOp(chain, f16), 1), f32), 1)
    grower.combine(value, chain, "mul")


def neutral(grower: Grower, value: SSAValue) -> None:
    """Ops that change nothing: times one, plus nothing, a view of the same shape, two views that undo each other."""
    shape, bound = shape_of(value), grower.bounds[value]
    choice = grower.draw(st.sampled_from(["view", "views", "one", "zero"]))
    if choice == "view":
        grower.emit(graph.ReshapeOp(value, shape), bound)
    elif choice == "views":
        flat = grower.emit(graph.ReshapeOp(value, (prod(shape),)), bound)
        grower.emit(graph.ReshapeOp(flat, shape), bound)
    elif grower.is_plain(value):
        number = grower.weight((), fill=1.0 if choice == "one" else 0.0)
        repeated = grower.emit(graph.BroadcastOp(number, dims=[], shape=shape), 1)
        grower.combine(value, repeated, "mul" if choice == "one" else "add")


def casts(grower: Grower, value: SSAValue) -> None:
    """To float16 and back, behind an op and before another."""
    if grower.is_plain(value):
        narrow = grower.emit(graph.CastOp(value, f16), grower.bounds[value])
        grower.unary(grower.emit(graph.CastOp(narrow, f32), grower.bounds[value]))


def attention(grower: Grower, value: SSAValue) -> None:
    """softmax(scale * x x^T + mask) x on the last two dims, the scale before or behind the product, with or without a mask."""
    shape = shape_of(value)
    if len(shape) not in (2, 3, 4) or not grower.is_plain(value) or "tanh" not in grower.kinds or 0 in shape:
        return
    rank, scores = len(shape), (*shape[:-1], shape[-2])
    early, masked = grower.draw(st.booleans()), grower.draw(st.booleans())
    number = grower.weight((), fill=0.5)
    q = value
    if early:
        q = grower.combine(value, grower.emit(graph.BroadcastOp(number, dims=[], shape=shape), 1), "mul")
    swapped = [*range(rank - 2), rank - 1, rank - 2]
    x = grower.emit(graph.MatmulOp(q, grower.emit(graph.TransposeOp(value, swapped), grower.bounds[value])), 1)
    if not early:
        x = grower.combine(x, grower.emit(graph.BroadcastOp(number, dims=[], shape=scores), 1), "mul")
    if masked:
        mask = grower.weight((scores[-1],))
        x = grower.combine(x, grower.emit(graph.BroadcastOp(mask, dims=[rank - 1], shape=scores), 1), "add")
    shares = grower.emit(graph.SoftmaxOp(x, dims=[rank - 1]), 1)
    grower.emit(graph.MatmulOp(shares, value), grower.bounds[value])


PATTERNS: Mapping[str, Callable[[Grower, SSAValue], None]] = {
    made.__name__: made
    for made in (
        swish, epilogue, batch_norm, inverse_transposes, transposed_operands, flattened_product,
        shared_operand, second_consumer, weight_chain, neutral, casts, attention,
    )
}  # fmt: skip
"""Name -> what plants it."""

DEFAULT = tuple(name for name in PATTERNS if name != "attention")
"""What networks hold where nobody asks for more: an attention makes scores that are no whole numbers."""


def shape_of(value: SSAValue) -> Shape:
    """The extents of a value."""
    assert isinstance(value.type, TensorType)
    return value.type.get_shape()
