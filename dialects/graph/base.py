"""The base of graph ops: constructors and verifiers that share one inference, and short definitions of attributes.

An op says once, in `infer`, which result types its operands and attributes imply. Its constructor takes them, its verifier compares.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import (
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    NoneType,
    StringAttr,
    UnitAttr,
    i64,
)
from xdsl.dialects.builtin import Float64Type as F64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import IRDLOperation, opt_prop_def, prop_def, traits_def
from xdsl.traits import Pure

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.attributes import dims_attr
from stepwell.dialects.graph.extents import tensor_of

Value = SSAValue | Operation
"""What constructors take as an operand."""
Optional = Sequence[Value]
"""What constructors hand on for an operand that may be absent: one value or none."""


def asked(name: str, operand: Value, element: Attribute | None = None, shape: Sequence[int] | None = None) -> Attribute:
    """The operand's type with another element type or shape, as a caller asks for it."""
    with checks.named(name):
        before = checks.tensor(SSAValue.get(operand), "the operand")
    return tensor_of(element or before.element, before.shape if shape is None else shape)


def maybe(value: Value | None) -> Optional:
    """An operand that may be absent."""
    return [] if value is None else [value]


def as_attribute(value: Any) -> Attribute | None:
    """The attribute of a Python value: integers are i64, floats f64, true a unit attribute and false none, lists of integers arrays."""
    match value:
        case None | Attribute():
            return value
        case bool():
            return UnitAttr() if value else None
        case int():
            return IntegerAttr(value, i64)
        case float():
            return FloatAttr(value, F64())
        case str():
            return StringAttr(value)
    return dims_attr([int(entry) for entry in value])


class GraphOp(IRDLOperation):
    """A pure op on tensors whose result types follow from its operands and attributes."""

    traits = traits_def(Pure())

    def construct(
        self,
        operands: Sequence[Value | Sequence[Value]],
        properties: dict[str, Any] | None = None,
        results: int = 1,
        types: Sequence[Attribute] | None = None,
    ) -> None:
        """Construct with the inferred result types; VerifyException when there are none. `types` are those that the caller asks for, for
        ops whose result says more than operands and attributes do (its element type or shape): `infer` finds them in the results."""
        given = {key: as_attribute(value) for key, value in (properties or {}).items()}
        super().__init__(
            operands=operands,
            properties={key: value for key, value in given.items() if value is not None},
            result_types=types or [NoneType()] * results,
        )
        try:
            with checks.named(self.name):
                inferred = self.infer()
        except Exception:
            self.drop_all_references()
            raise
        for result, type in zip(self.results, inferred, strict=True):
            result._type = type

    @abstractmethod
    def infer(self) -> Sequence[Attribute]:
        """The types of the results; VerifyException when operands and attributes do not fit."""

    def verify_(self) -> None:
        with checks.named(self.name):
            types = self.infer()
            several = len(types) > 1
            for position, (result, type) in enumerate(zip(self.results, types, strict=True)):
                checks.check_result(result, type, f"result {position}" if several else "the result")


# --- definitions of attributes, and properties that read them as Python values


def ints_def(name: str) -> Any:
    """An array of integers called `name` in the text."""
    return prop_def(DenseArrayBase.constr(i64), prop_name=name)


def int_def(name: str) -> Any:
    """One 64-bit integer."""
    return prop_def(IntegerAttr[IntegerType].constr(i64), prop_name=name)


def float_def(name: str) -> Any:
    """One float, kept as f64."""
    return prop_def(FloatAttr[F64].constr(F64()), prop_name=name)


def flag_def(name: str) -> Any:
    """A flag: present or not."""
    return opt_prop_def(UnitAttr, prop_name=name)


def ints(name: str) -> Any:
    """Reads an array of integers as a tuple."""
    return property(lambda op: op.properties[name].get_values())


def number(name: str) -> Any:
    """Reads an integer or a float."""
    return property(lambda op: op.properties[name].value.data)


def flag(name: str) -> Any:
    """Reads a flag."""
    return property(lambda op: name in op.properties)


def word(name: str) -> Any:
    """Reads the name of an enum's case, or a string."""
    return property(lambda op: _text(op.properties[name]))


def _text(attribute: Attribute) -> str:
    data = attribute.data  # type: ignore[attr-defined]
    return data if type(data) is str else data.value


def floats_def(name: str) -> Any:
    """An array of floats, kept as f64."""
    return prop_def(DenseArrayBase.constr(F64()), prop_name=name)


def text_def(name: str) -> Any:
    """A string."""
    return prop_def(StringAttr, prop_name=name)


def floats_attr(values: Sequence[float]) -> DenseArrayBase[F64]:
    """A property that holds these floats."""
    return DenseArrayBase.from_list(F64(), [float(value) for value in values])
