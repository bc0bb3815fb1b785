"""Builds linalg and tensor ops at one place with one location: what the lowering from graph needs, with upstream's
conventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from math import prod

from xdsl.builder import Builder
from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import (
    AffineMapAttr,
    AnyFloat,
    ArrayAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    TensorType,
    UnrealizedConversionCastOp,
    i64,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.attrs import IteratorTypeAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineExpr, AffineMap
from xdsl.rewriter import InsertPoint

from stepwell.dialects.graph.scalar_sequence import ScalarSequence
from stepwell.dialects.numpy_types import UNSIGNED, signless, wrapped
from stepwell.passes import inherit_location
from stepwell.transforms.graph_to_linalg.signless import make_signless
from stepwell.transforms.tensors import element_of, shape_of

ScalarBody = Callable[[Sequence[SSAValue]], tuple[Sequence[Operation], SSAValue]]
"""Given the scalars of a generic (inputs, then the output), the ops to insert and the value to yield."""
PositionBody = Callable[[Sequence[SSAValue]], tuple[ScalarSequence, SSAValue]]
"""The same with the ops collected in a sequence."""


def dims(*numbers: int) -> list[AffineExpr]:
    """Affine dims by number."""
    return [AffineExpr.dimension(number) for number in numbers]


def lowest(element: Attribute) -> float | int:
    """The identity of maximum: minus infinity, or the smallest integer."""
    if element in UNSIGNED:
        return 0
    return -(1 << (element.width.data - 1)) if isinstance(element, IntegerType) else float("-inf")


def window_maps(strides: Sequence[int], dilations: Sequence[int], first_tap: int) -> list[AffineExpr]:
    """Input coordinate of each spatial dim of a window: loop 1 + d strides over outputs, loop first_tap + d over taps."""
    steps = enumerate(zip(strides, dilations, strict=True))
    return [
        AffineExpr.dimension(1 + d) * stride + AffineExpr.dimension(first_tap + d) * dilation
        for d, (stride, dilation) in steps
    ]


def spatial_pads(pads: Sequence[int], last: bool) -> tuple[list[int], list[int]]:
    """Low and high pads of every dim of a window's input, from begins and ends of the spatial dims."""
    spatial = len(pads) // 2
    before, after = ([0], [0]) if last else ([0, 0], [])
    return [*before, *pads[:spatial], *after], [*before, *pads[spatial:], *after]


class LinalgBuilder:
    """Inserts ops before `source` and gives them its location."""

    def __init__(self, source: Operation) -> None:
        self.source = source
        self._builder = Builder(InsertPoint.before(source))

    def insert(self, op: Operation) -> Operation:
        """Insert `op` with the source's location."""
        inherit_location(op, self.source)
        return self._builder.insert(op)

    def constant(self, value: float, element: Attribute) -> SSAValue:
        """A scalar."""
        attr: FloatAttr | IntegerAttr
        if isinstance(element, AnyFloat):
            attr = FloatAttr(float(value), element)
        else:
            held = signless(element)
            assert isinstance(held, IntegerType)
            attr = IntegerAttr(wrapped(int(value), held.width.data) if held != element else int(value), held)
        made = self.insert(arith.ConstantOp(attr)).results[0]
        if made.type == element:
            return made
        return self.insert(UnrealizedConversionCastOp.get([made], [element])).results[0]

    def empty(self, shape: Sequence[int], element: Attribute) -> SSAValue:
        """A tensor without defined values: a destination, or the extents of a window."""
        return self.insert(tensor.EmptyOp([], TensorType(element, shape))).results[0]

    def filled(self, shape: Sequence[int], element: Attribute, value: float) -> SSAValue:
        """A tensor full of one value."""
        scalar, target = self.constant(value, element), self.empty(shape, element)
        return self.insert(linalg.FillOp([scalar], [target])).results[0]

    def pad(self, source: SSAValue, low: Sequence[int], high: Sequence[int], value: float) -> SSAValue:
        """`source` with `value` around it; itself where there is nothing to add."""
        if not any((*low, *high)):
            return source
        element = element_of(source)
        shape = [extent + a + b for extent, a, b in zip(shape_of(source), low, high, strict=True)]
        scalar = self.constant(value, element)
        block = Block(arg_types=[IndexType()] * len(shape))
        block.add_op(tensor.YieldOp(scalar))
        return self.insert(
            tensor.PadOp(source, [], [], Region(block), list(low), list(high), TensorType(element, shape))
        ).results[0]

    def generic(
        self, inputs: Sequence[SSAValue], init: SSAValue, maps: Sequence[AffineMap], reductions: int, body: ScalarBody
    ) -> SSAValue:
        """A linalg.generic whose last `reductions` loops are reductions; `maps` are those of the inputs and then the
        output's."""
        block = Block(arg_types=[element_of(value) for value in (*inputs, init)])
        ops, result = body(block.args)
        block.add_ops([*ops, linalg.YieldOp(result)])
        make_signless(block)
        loops = maps[0].num_dims
        kinds = [IteratorTypeAttr.parallel()] * (loops - reductions)
        kinds += [IteratorTypeAttr.reduction()] * reductions
        op = linalg.GenericOp(
            inputs, [init], Region(block), [AffineMapAttr(m) for m in maps], kinds, result_types=[init.type]
        )
        return self.insert(op).results[0]

    def elementwise(self, inputs: Sequence[SSAValue], element: Attribute, body: ScalarBody) -> SSAValue:
        """A generic over equal shapes, with identity maps."""
        shape = shape_of(inputs[0])
        identity = AffineMap.identity(len(shape))
        init = self.empty(shape, element)
        return self.generic(inputs, init, [identity] * (len(inputs) + 1), 0, body)

    def copy(self, source: SSAValue, shape: Sequence[int], read: Sequence[AffineExpr]) -> SSAValue:
        """A generic of this shape that yields the element of `source` at `read`, expressions of the loops."""
        maps = [AffineMap(len(shape), 0, tuple(read)), AffineMap.identity(len(shape))]
        return self.generic([source], self.empty(shape, element_of(source)), maps, 0, lambda s: ([], s[0]))

    def positioned(
        self,
        inputs: Sequence[SSAValue],
        shape: Sequence[int],
        element: Attribute,
        body: PositionBody,
        maps: Sequence[AffineMap] | None = None,
    ) -> SSAValue:
        """A generic of this shape whose body uses positions; `maps` are those of the inputs, without them identities."""
        identity = AffineMap.identity(len(shape))

        def ops(scalars: Sequence[SSAValue]) -> tuple[Sequence[Operation], SSAValue]:
            made, value = body(scalars)
            return made.ops, value

        found = [identity] * len(inputs) if maps is None else maps
        return self.generic(inputs, self.empty(shape, element), [*found, identity], 0, ops)

    def reshape(self, source: SSAValue, shape: Sequence[int]) -> SSAValue:
        """The same elements in row-major order: collapse and expand as far as needed."""
        before = shape_of(source)
        if tuple(shape) == before:
            return source
        parts = common_parts(before, shape)
        middle = [prod(before[begin:end]) for (begin, end), _ in parts]
        collapsed = self._collapse(source, [part for part, _ in parts], middle)
        return self._expand(collapsed, [part for _, part in parts], shape)

    def _collapse(self, source: SSAValue, parts: Sequence[tuple[int, int]], shape: Sequence[int]) -> SSAValue:
        if tuple(shape) == shape_of(source):
            return source
        result = TensorType(element_of(source), shape)
        op = tensor.CollapseShapeOp(
            operands=[source], result_types=[result], properties={"reassociation": _reassociation(parts)}
        )
        return self.insert(op).results[0]

    def _expand(self, source: SSAValue, parts: Sequence[tuple[int, int]], shape: Sequence[int]) -> SSAValue:
        if tuple(shape) == shape_of(source):
            return source
        result = TensorType(element_of(source), shape)
        return self.insert(tensor.ExpandShapeOp(source, [], _reassociation(parts), list(shape), result)).results[0]


def common_parts(before: Sequence[int], after: Sequence[int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The finest cut of two shapes with equal element counts into runs of dims with equal products; every run holds a
    dim of each shape unless that shape is a scalar's. [2, 3, 4] and [6, 2, 2] give [(0, 2), (0, 1)], [(2, 3), (1,
    3)]."""
    if 0 in before or 0 in after:
        return [((0, len(before)), (0, len(after)))]
    products = [list(accumulate(shape, lambda a, b: a * b)) for shape in (before, after)]
    cuts: list[tuple[int, int]] = [(0, 0)]
    for i, value in enumerate(products[0][:-1]):
        following = [j for j, other in enumerate(products[1][:-1]) if other == value and j + 1 > cuts[-1][1]]
        if following:
            cuts.append((i + 1, following[0] + 1))
    cuts.append((len(before), len(after)))
    return [((a[0], b[0]), (a[1], b[1])) for a, b in pairwise(cuts)]


def _reassociation(parts: Sequence[tuple[int, int]]) -> ArrayAttr[ArrayAttr[IntegerAttr]]:
    return ArrayAttr(ArrayAttr(IntegerAttr(dim, i64) for dim in range(begin, end)) for begin, end in parts)
