"""`OpParameters`: what a strategy draws for one op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, Operation, SSAValue


@dataclass(frozen=True)
class OpParameters:
    """What one op is built from: the class, operand types, and the other arguments of its constructor. `together`: the constructor takes its
    operands as one list. `make`: what builds the op instead of its constructor, for ops with regions."""

    op_class: type[Operation]
    operands: tuple[TensorType[Attribute], ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    together: bool = False
    make: Callable[[Sequence[SSAValue]], Operation] | None = None

    def build(self, operands: Sequence[SSAValue]) -> Operation:
        """The op on values of these types."""
        if self.make is not None:
            return self.make(operands)
        return self.op_class(*([operands] if self.together else operands), **self.arguments)
