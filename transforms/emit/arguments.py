"""What a kernel asks of its launches, as data: expressions over the extents, strides and windows of the operands. `LaunchNumbers` writes them as plan arithmetic
before a launch, one op for each distinct part, named after the kernel's parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, prod

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, IntegerType
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import plan, tile
from stepwell.dialects.tile._syntax import WHOLE
from stepwell.transforms.tensors import shape_of


@dataclass(frozen=True)
class Expression:
    """A number of a launch."""

    def times(self, other: Expression | int) -> Expression:
        """Their product."""
        factor = Literal(other) if isinstance(other, int) else other
        if self == Literal(1) or factor == Literal(1):
            return factor if self == Literal(1) else self
        return Two(plan.MultiplyOp, self, factor.value if isinstance(factor, Literal) else factor)

    def ceil_div(self, divisor: Expression | int) -> Expression:
        """How many blocks of `divisor` cover it."""
        return self if divisor == 1 else Two(plan.CeilDivOp, self, divisor)

    def floor_div(self, divisor: Expression | int) -> Expression:
        """The quotient, rounded down."""
        return Two(plan.FloorDivOp, self, divisor)

    def at_most(self, limit: Expression | int) -> Expression:
        """The smaller of both."""
        return Two(plan.MinimumOp, self, limit)

    def at_least(self, limit: Expression | int) -> Expression:
        """The larger of both."""
        return Two(plan.MaximumOp, self, limit)


@dataclass(frozen=True)
class Literal(Expression):
    """The number itself."""

    value: int


@dataclass(frozen=True)
class Extent(Expression):
    """The extent of a dim of an operand; of a window: pixels, taps, channels."""

    position: int
    dim: int


@dataclass(frozen=True)
class Stride(Expression):
    """Elements between neighbours along a dim of an operand."""

    position: int
    dim: int


@dataclass(frozen=True)
class ImageExtent(Expression):
    """The extent of a dim of the buffer that a window slides over."""

    position: int
    dim: int


@dataclass(frozen=True)
class OfWindow(Expression):
    """A number of a window: output, kernel, strides, pads or dilations."""

    position: int
    field: plan.WindowField
    dim: int


@dataclass(frozen=True)
class Two(Expression):
    """Arithmetic on two numbers."""

    op: type[plan.TwoNumbersOp]
    left: Expression
    right: Expression | int


@dataclass(frozen=True)
class Magic(Expression):
    """Half of a magic number."""

    op: type[plan.MagicOp]
    divisor: Expression


def blocks_along(extent: Expression, block: int) -> Expression:
    """How many blocks lie along a dim: one where the dim is not cut."""
    return Literal(1) if block == WHOLE else extent.ceil_div(block)


def product(parts: Iterable[Expression]) -> Expression:
    """The product of all; 1 of none."""
    whole: Expression = Literal(1)
    for part in parts:
        whole = whole.times(part)
    return whole


def loops_tiles(kernel: tile.LoopsKernel) -> Expression:
    """Tiles of a launch of loops: enough for its runs, or for the elements of its largest result, and at least one."""
    (elements,) = kernel.config.data.block
    if isinstance(kernel, tile.ParallelOp):
        return Literal(max(1, ceil(kernel.threads / elements)))
    assert isinstance(kernel, tile.LoopsOp)
    values = kernel.results_of_body.arguments
    shapes = {len(kernel.inputs) + number: shape_of(value) for number, value in enumerate(values)}
    largest = max(shapes, key=lambda position: prod(shapes[position]))
    extents = (Extent(largest, dim) for dim in range(len(shapes[largest])))
    return product(extents).ceil_div(elements).at_least(1)


def window_behind(operand: SSAValue, refuse: Callable[[str], Exception]) -> plan.WindowOp:
    """The window that an operand of a launch is, over an image [N, H, W, C]."""
    owner = operand.owner
    if not isinstance(owner, plan.WindowOp):
        raise refuse(f"a window must come from plan.window, here from {owner}")
    image = owner.source.type
    if not isinstance(image, plan.BufferType) or image.get_num_dims() != 4:
        raise refuse(f"a window over {image}: kernels take two spatial dims, reshape to [N, H, W, C]")
    return owner


class LaunchNumbers:
    """Writes the numbers of one launch, as integers of one width, before it. Literals stand at the program's start, one for all launches."""

    def __init__(
        self,
        launch: plan.LaunchOp,
        width: IntegerType,
        refuse: Callable[[str], Exception],
    ) -> None:
        self.launch, self.width, self.refuse = launch, width, refuse
        self.operands: Sequence[SSAValue] = (*launch.args, *launch.outs)
        self._written: dict[Expression, SSAValue] = {}

    def value(self, expression: Expression, name: str) -> SSAValue:
        """The value of an expression, named after what it is for."""
        if isinstance(expression, Literal):
            return self._literal(expression.value)
        known = expression in self._written
        value = self._part(expression)
        if not known or value.name_hint is None:
            value.name_hint = name
        return value

    def _part(self, expression: Expression | int) -> SSAValue:
        if isinstance(expression, int | Literal):
            return self._literal(expression if isinstance(expression, int) else expression.value)
        if expression not in self._written:
            op = self._op(expression)
            op.location = self.launch.location
            block = self.launch.parent_block()
            assert block is not None
            block.insert_op_before(op, self.launch)
            self._written[expression] = op.results[0]
        return self._written[expression]

    def _op(self, expression: Expression) -> Operation:
        match expression:
            case Extent(position, dim):
                return plan.ExtentOp(self.operands[position], dim, self.width)
            case ImageExtent(position, dim):
                return plan.ExtentOp(window_behind(self.operands[position], self.refuse).source, dim, self.width)
            case Stride(position, dim):
                return plan.StrideOp(self.operands[position], dim, self.width)
            case OfWindow(position, field, dim):
                return plan.GeometryOp(
                    window_behind(self.operands[position], self.refuse).window, field, dim, self.width
                )
            case Two(op, left, right):
                return op(self._part(left), right if isinstance(right, int) else self._part(right))
            case Magic(op, divisor):
                return op(self._part(divisor))
        raise TypeError(f"{expression} is no number of a launch")

    def _literal(self, value: int) -> SSAValue:
        """A constant at the program's start; one op for each number."""
        attribute = IntegerAttr(value, self.width)
        program = self.launch.parent_block()
        assert program is not None and program.first_op is not None
        for op in program.ops:
            if not isinstance(op, arith.ConstantOp):
                break
            if op.value == attribute:
                return op.result
        constant = arith.ConstantOp(attribute)
        constant.result.name_hint = f"c{value}" if value >= 0 else f"cm{-value}"
        constant.location = self.launch.location
        program.insert_op_before(constant, program.first_op)
        return constant.result
