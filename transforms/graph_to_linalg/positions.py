"""`Positions`: the scalar ops of a linalg.generic whose body computes with the position of its element, and reads tensors where it says."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import IndexType, IntegerAttr, IntegerType, i64
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects.graph.elementwise import Expansion, expand_cast
from stepwell.dialects.graph.scalar_sequence import ScalarSequence
from stepwell.transforms.tensors import element_of, shape_of


class Positions(ScalarSequence):
    """Collects ops on scalars and on positions, which are of type index."""

    def add(self, op: Operation) -> SSAValue:
        """Append an op with one result."""
        self.ops.append(op)
        return op.results[0]

    def take(self, expansion: Expansion) -> SSAValue:
        """Append the ops of an expansion."""
        ops, value = expansion
        self.ops.extend(ops)
        return value

    def loop(self, number: int) -> SSAValue:
        """The position along a loop of the generic."""
        return self.add(linalg.IndexOp(number))

    def index(self, value: int) -> SSAValue:
        """A position that is known."""
        return self.add(arith.ConstantOp(IntegerAttr(value, IndexType())))

    def clamped(self, position: SSAValue, extent: int) -> SSAValue:
        """The nearest of the positions 0 to extent - 1."""
        above = self.op(arith.MaxSIOp, position, self.index(0))
        return self.op(arith.MinSIOp, above, self.index(extent - 1))

    def as_index(self, value: SSAValue) -> SSAValue:
        """A signed integer as a position."""
        return self.add(arith.IndexCastOp(value, IndexType()))

    def as_number(self, position: SSAValue, element: Attribute) -> SSAValue:
        """A position as an element."""
        number = self.add(arith.IndexCastOp(position, i64))
        return self.take(expand_cast(number, element))

    def within(self, position: SSAValue, extent: int) -> SSAValue:
        """Whether a position, which may be negative, lies in 0 to extent - 1."""
        return self.add(arith.CmpiOp(position, self.index(extent), "ult"))

    def extract(self, source: SSAValue, positions: Sequence[SSAValue]) -> SSAValue:
        """The element of a tensor at positions that it has."""
        assert len(positions) == len(shape_of(source))
        return self.add(tensor.ExtractOp(source, list(positions), element_of(source)))

    def signless(self, value: SSAValue) -> SSAValue:
        """An index element, which is an i32 or i64, widened to i64 before it is clamped."""
        assert isinstance(value.type, IntegerType)
        return self.take(expand_cast(value, i64))
