"""`graphs()`: whole networks at the graph level, as the importer would make them, with weights.

A network grows forward from its inputs. Each step takes a value that is there and appends what fits its shape: a convolution or product
block (bias, activation, residual each with a chance), a pool, an elementwise op, a movement, or a whole pattern that passes look for
(`patterns.py`). Values that no later step takes stay as dead code or become extra outputs, so that passes meet second consumers and taps.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from xdsl.dialects.builtin import TensorType, f16, f32, i1
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.ops_elementwise import INTEGER_UNARY_KINDS
from stepwell.dialects.numpy_types import is_float
from stepwell.dialects.weights import WeightStore
from stepwell.passes import location_of
from stepwell.testing.strategies.network import GeneratedGraph, close_network
from stepwell.testing.strategies.op_parameters import conv_shapes, pool_arguments
from stepwell.testing.strategies.patterns import DEFAULT, PATTERNS
from stepwell.testing.strategies.shapes import (
    Shape,
    broadcasts,
    image_shapes,
    permutations,
    reshapes,
    tensor_shapes,
)

TAME = ("relu", "gelu", "gelu_tanh", "tanh", "sigmoid", "abs", "neg", "erf")
WHOLE = ("relu", "abs", "neg")
"""Unary kinds that keep values near their size, and those that keep whole numbers whole."""

STEPS = ("conv", "conv", "matmul", "unary", "binary", "pool", "reshape", "transpose", "pattern", "pattern", "pattern")
"""What a step is by default: methods of `Grower`."""

Made = tuple[SSAValue, int]
"""A contraction's result and its channel dim."""

LARGEST = 1024
"""With small integers no value exceeds this: float16 and tf32 hold every whole number up to 2048."""


class Grower:
    """A network under construction: the values that are there, each with a bound when numbers are whole."""

    def __init__(
        self,
        draw: DrawFn,
        integers: bool,
        kinds: tuple[str, ...],
        elements: tuple[Attribute, ...],
        patterns: tuple[str, ...],
    ) -> None:
        self.draw, self.integers, self.elements, self.patterns = draw, integers, elements, patterns
        self.kinds = tuple(kind for kind in kinds if not integers or kind in WHOLE)
        self.block = Block()
        self.weights = WeightStore()
        self.values: list[SSAValue] = []
        self.bounds: dict[SSAValue, int] = {}
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))

    # --- bookkeeping

    def input(self, type: TensorType[Attribute]) -> None:
        """One more input of the network."""
        value = self.block.insert_arg(type, len(self.block.args))
        self.keep(value, 2)

    def keep(self, value: SSAValue, bound: int) -> SSAValue:
        """Offer `value`, of at most `bound`, to later steps."""
        self.values.append(value)
        self.bounds[value] = bound
        return value

    def emit(self, op: Operation, bound: int) -> SSAValue:
        """Append `op` under a name of its own."""
        op.location = location_of([f"node{len(self.block.ops)}"])
        self.block.add_op(op)
        return self.keep(op.results[0], bound)

    def weight(self, shape: Shape, fill: float | None = None) -> SSAValue:
        """A weight: whole numbers of at most 1, or normal with He's variance, or `fill` everywhere."""
        if fill is not None:
            array = np.full(shape, fill, np.float32)
        elif self.integers:
            array = self.rng.integers(-1, 2, shape).astype(np.float32)
        else:
            terms = prod(shape[1:]) if len(shape) > 1 else 8
            array = (self.rng.standard_normal(shape) * (2 / max(1, terms)) ** 0.5).astype(np.float32)
        name = f"w{len(self.weights)}"
        op = graph.WeightOp(self.weights.add(name, array))
        op.location = location_of([name])
        self.block.add_op(op)
        return op.result

    def pick(self) -> SSAValue:
        """A value to go on from: most often the newest."""
        back = self.draw(st.sampled_from([1, 1, 1, 2, 3]))
        return self.values[-min(back, len(self.values))]

    def room(self, bound: int) -> bool:
        """Whether a value of this bound is allowed."""
        return not self.integers or bound <= LARGEST

    def is_plain(self, value: SSAValue) -> bool:
        """Whether the value is of f32, as the weights of this network are."""
        return type_of(value).element_type == f32

    def is_float(self, value: SSAValue) -> bool:
        """Whether every unary kind takes the value."""
        return is_float(type_of(value).element_type)

    def is_number(self, value: SSAValue) -> bool:
        """Whether there is arithmetic on the value."""
        return type_of(value).element_type != i1

    # --- steps; each returns without doing anything where it does not fit

    def unary(self, value: SSAValue) -> None:
        kinds = [kind for kind in self.kinds if self.is_float(value) or kind in INTEGER_UNARY_KINDS]
        if not kinds or not self.is_number(value):
            return
        kind = self.draw(st.sampled_from(kinds))
        self.emit(graph.UnaryOp(value, kind=kind), self.bounds[value])

    def binary(self, value: SSAValue) -> None:
        """With a value of the same type, or with a weight that is broadcast."""
        if not self.is_number(value):
            return
        shape = shape_of(value)
        partners = [other for other in self.values if other.type == value.type]
        if type_of(value).element_type == f32 and self.draw(st.booleans()):
            operand, dims = self.draw(broadcasts(shape))
            partner = self.emit(graph.BroadcastOp(self.weight(operand), dims=dims, shape=shape), 1)
        else:
            partner = self.draw(st.sampled_from(partners))
        a, b = (value, partner) if self.draw(st.booleans()) else (partner, value)
        self.combine(a, b, self.draw(st.sampled_from(["add", "sub", "max", "min", "mul"])))

    def combine(self, a: SSAValue, b: SSAValue, kind: str) -> SSAValue:
        """`a kind b`, or their maximum where the result could grow too large."""
        left, right = self.bounds[a], self.bounds[b]
        bound = {"add": left + right, "sub": left + right, "mul": left * right}.get(kind, max(left, right))
        if not self.room(bound):
            kind, bound = "max", max(left, right)
        return self.emit(graph.BinaryOp(a, b, kind=kind), bound)

    def conv(self, value: SSAValue) -> None:
        self.epilogue(self.convolved(value), value)

    def matmul(self, value: SSAValue) -> None:
        self.epilogue(self.multiplied(value), value)

    def pattern(self, value: SSAValue) -> None:
        """One of `patterns.PATTERNS`, whole."""
        PATTERNS[self.draw(st.sampled_from(self.patterns))](self, value)

    def contraction(self, value: SSAValue) -> Made | None:
        """A convolution where the rank allows it, or else a product."""
        return self.convolved(value) or self.multiplied(value)

    def convolved(self, value: SSAValue) -> Made | None:
        """The value through a convolution; None where none fits."""
        shape = shape_of(value)
        if len(shape) not in (3, 4, 5) or not self.is_plain(value) or 0 in shape:
            return None
        filter, attributes = self.draw(conv_shapes(shape, False, same=self.draw(st.booleans())))
        bound = self.bounds[value] * prod(filter[1:])
        if not self.room(bound + 1 + self.bounds[value]):
            return None
        return self.emit(graph.ConvOp(value, self.weight(filter), **attributes), bound), 1

    def multiplied(self, value: SSAValue) -> Made | None:
        """The value by a weight; None where that does not fit."""
        shape = shape_of(value)
        if len(shape) < 2 or not self.is_plain(value):
            return None
        columns, transposed = self.draw(st.integers(1, 9)), self.draw(st.booleans())
        bound = self.bounds[value] * shape[-1]
        if not self.room(bound + 1 + self.bounds[value]):
            return None
        right = self.weight((columns, shape[-1]) if transposed else (shape[-1], columns))
        return self.emit(graph.MatmulOp(value, right, transpose_b=transposed), bound), len(shape) - 1

    def epilogue(self, contraction: Made | None, residual: SSAValue) -> None:
        """Bias, residual and activation after a contraction, each with a chance."""
        if contraction is None:
            return
        made, channel = contraction
        shape = shape_of(made)
        if self.draw(st.booleans()):
            bias = self.weight((shape[channel],))
            repeated = self.emit(graph.BroadcastOp(bias, dims=[channel], shape=shape), 1)
            made = self.combine(made, repeated, "add")
        if residual.type == made.type and self.draw(st.booleans()):
            pair = (made, residual) if self.draw(st.booleans()) else (residual, made)
            made = self.combine(*pair, "add")
        if self.draw(st.booleans()):
            self.unary(made)

    def pool(self, value: SSAValue) -> None:
        shape = shape_of(value)
        if len(shape) not in (3, 4, 5) or not self.is_float(value) or 0 in shape:
            return
        kinds = ("max",) if self.integers else ("max", "average")
        arguments = self.draw(pool_arguments(shape, False, kinds))
        self.emit(graph.PoolOp(value, **arguments), self.bounds[value])

    def reshape(self, value: SSAValue) -> None:
        flatten = len(shape_of(value)) > 2 and self.draw(st.booleans())
        shape = shape_of(value)
        target = (shape[0], prod(shape[1:])) if flatten else self.draw(reshapes(shape))
        self.emit(graph.ReshapeOp(value, target), self.bounds[value])

    def transpose(self, value: SSAValue) -> None:
        permutation = self.draw(permutations(len(shape_of(value))))
        self.emit(graph.TransposeOp(value, permutation), self.bounds[value])

    def cast(self, value: SSAValue) -> None:
        """To another element type and, with a chance, back at once."""
        before = type_of(value).element_type
        others = [element for element in (f16, *self.elements) if element != before] if before == f32 else [f32]
        made = self.emit(graph.CastOp(value, self.draw(st.sampled_from(others))), self.bounds[value])
        if before == f32 and self.draw(st.booleans()):
            self.emit(graph.CastOp(made, f32), self.bounds[value])

    def grow(self, count: int, steps: Sequence[str]) -> None:
        """Append `count` steps."""
        for _ in range(count):
            getattr(self, self.draw(st.sampled_from(list(steps))))(self.pick())

    def close(self, taps: bool) -> GeneratedGraph:
        """The module: the newest value is an output, with `taps` sometimes others too."""
        several = taps and self.draw(st.booleans())
        extra = self.draw(st.lists(st.sampled_from(self.values), max_size=2)) if several else []
        return close_network(self.block, [self.values[-1], *extra], self.weights, integers=self.integers)


def type_of(value: SSAValue) -> TensorType[Attribute]:
    """The tensor type of a value."""
    assert isinstance(value.type, TensorType)
    return value.type


def shape_of(value: SSAValue) -> Shape:
    """The extents of a value."""
    return type_of(value).get_shape()


@st.composite
def _graphs(
    draw: DrawFn,
    max_steps: int,
    steps: Sequence[str],
    kinds: Sequence[str],
    integers: bool,
    shape: Shape | None,
    taps: bool,
    elements: Sequence[Attribute],
    patterns: Sequence[str],
    empty: bool,
) -> GeneratedGraph:
    grower = Grower(draw, integers, tuple(kinds), tuple(elements), tuple(patterns))
    any_shape = st.one_of(image_shapes(), tensor_shapes(2, 2), tensor_shapes(0, 5))
    input = draw(any_shape) if shape is None else shape
    if empty and input and draw(st.sampled_from([False, False, True])):
        gone = draw(st.integers(0, len(input) - 1))
        input = tuple(0 if dim == gone else extent for dim, extent in enumerate(input))
    element = draw(st.sampled_from(list(elements)))
    grower.input(TensorType(element, input))
    if draw(st.sampled_from([False, False, True])):
        grower.input(TensorType(element, input))
    grower.grow(draw(st.integers(0, max_steps)), steps)
    return grower.close(taps)


def graphs(
    max_steps: int = 6,
    *,
    steps: Sequence[str] = STEPS,
    kinds: Sequence[str] = TAME,
    integers: bool = False,
    shape: Shape | None = None,
    taps: bool = True,
    elements: Sequence[Attribute] = (f32,),
    patterns: Sequence[str] = DEFAULT,
    empty: bool = False,
) -> SearchStrategy[GeneratedGraph]:
    """Networks of up to `max_steps` steps over the ops of the graph dialect, channels first, f32.

    `steps`: what a step may be, more likely where repeated; "cast" adds float16 values. `kinds`: the unary kinds. `integers`: inputs and
    weights are small whole numbers and no value is ever rounded, so that every order of every sum gives the same bits. `shape`: of the
    inputs, any when None. `taps`: values on the way may be outputs too, some twice. `elements`: types of the inputs, one for each network; contractions
    and weights stay f32. `patterns`: what the step "pattern" plants. `empty`: extents may be 0."""
    unknown = set(steps) - {*STEPS, "cast"}
    if unknown:
        raise ValueError(
            f"no such step: {', '.join(sorted(unknown))}; there are {', '.join(dict.fromkeys(STEPS))} and cast"
        )
    return _graphs(
        max_steps, tuple(steps), tuple(kinds), integers, shape, taps, tuple(elements), tuple(patterns), empty
    )
