"""Formulas as Python writes them: numbers that emit graph ops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.extents import Shape
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import shape_of


@dataclass(frozen=True, eq=False)
class Formula:
    """A tensor under Python's operators; plain numbers become constants of its type and shape."""

    build: GraphBuilder
    value: SSAValue

    @property
    def shape(self) -> Shape:
        """The extents."""
        return shape_of(self.value)

    def _of(self, other: Formula | float) -> SSAValue:
        return other.value if isinstance(other, Formula) else self.build.number(other, self.value)

    def binary(self, kind: str, other: Formula | float) -> Formula:
        """A graph.binary."""
        return Formula(self.build, self.build.binary(kind, self.value, self._of(other)))

    def _from(self, kind: str, other: float) -> Formula:
        return Formula(self.build, self.build.binary(kind, self._of(other), self.value))

    def __add__(self, other: Formula | float) -> Formula:
        return self.binary("add", other)

    def __sub__(self, other: Formula | float) -> Formula:
        return self.binary("sub", other)

    def __mul__(self, other: Formula | float) -> Formula:
        return self.binary("mul", other)

    def __truediv__(self, other: Formula | float) -> Formula:
        return self.binary("div", other)

    def __pow__(self, other: Formula | float) -> Formula:
        return self.binary("pow", other)

    def __and__(self, other: Formula) -> Formula:
        return self.binary("and", other)

    def __or__(self, other: Formula) -> Formula:
        return self.binary("or", other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: float) -> Formula:
        return self._from("sub", other)

    def __rtruediv__(self, other: float) -> Formula:
        return self._from("div", other)

    def __neg__(self) -> Formula:
        return self.unary("neg")

    def unary(self, kind: str) -> Formula:
        """A graph.unary."""
        return Formula(self.build, self.build.unary(kind, self.value))

    def compare(self, kind: str, other: Formula | float) -> Formula:
        """A graph.compare."""
        return Formula(self.build, self.build.emit(graph.CompareOp(self.value, self._of(other), kind=kind)))

    def select(self, yes: Formula | float, no: Formula | float) -> Formula:
        """`yes` where this condition holds, else `no`; at least one of them is a tensor."""
        typed = yes if isinstance(yes, Formula) else no
        assert isinstance(typed, Formula)
        return Formula(self.build, self.build.emit(graph.SelectOp(self.value, typed._of(yes), typed._of(no))))

    def cast(self, element: Attribute) -> Formula:
        """Another element type."""
        return Formula(self.build, self.build.cast(self.value, element))

    def polynomial(self, coefficients: Sequence[float]) -> Formula:
        """Coefficients from the constant one on, by Horner's rule."""
        first = Formula(self.build, self._of(coefficients[-1]))
        return reduce(lambda sum, coefficient: sum * self + coefficient, reversed(coefficients[:-1]), first)
