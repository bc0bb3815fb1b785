"""Attributes of the graph dialect: references to weights, the recipes that transform them, lists of integers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, DenseArrayBase, IntAttr, IntegerType, StringAttr, TensorType, i64
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import shapes
from stepwell.dialects.graph.recipes import Argument, step_named
from stepwell.dialects.numpy_types import element_type_named


@irdl_attr_definition
class StepAttr(ParametrizedAttribute):
    """One recipe step: `#graph.step<"transpose", [0, 2, 3, 1]>`, `#graph.step<"cast", ["f16"]>`; kinds in `recipes.py`."""

    name = "graph.step"

    kind: StringAttr
    arguments: ArrayAttr[IntAttr | StringAttr]

    def __init__(self, kind: str | StringAttr, arguments: Sequence[Argument] | ArrayAttr[IntAttr | StringAttr]) -> None:
        if not isinstance(arguments, ArrayAttr):
            arguments = ArrayAttr(IntAttr(a) if isinstance(a, int) else StringAttr(a) for a in arguments)
        super().__init__(StringAttr(kind) if isinstance(kind, str) else kind, arguments)

    @property
    def values(self) -> tuple[Argument, ...]:
        """The arguments as Python values."""
        return tuple(argument.data for argument in self.arguments)

    def verify(self) -> None:
        step_named(self.kind.data)

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string_literal(self.kind.data)
            printer.print_string(", ")
            with printer.in_square_brackets():
                printer.print_list(self.arguments, lambda a: _print_argument(printer, a))

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            kind = parser.parse_str_literal()
            parser.parse_punctuation(",")
            arguments = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, lambda: _parse_argument(parser))
        return [StringAttr(kind), ArrayAttr(arguments)]


def _print_argument(printer: Printer, argument: IntAttr | StringAttr) -> None:
    if isinstance(argument, IntAttr):
        printer.print_int(argument.data)
    else:
        printer.print_string_literal(argument.data)


def _parse_argument(parser: AttrParser) -> IntAttr | StringAttr:
    text = parser.parse_optional_str_literal()
    return IntAttr(parser.parse_integer()) if text is None else StringAttr(text)


NO_HASH = "0" * 64
"""The hash of a weight whose values were not known when its network was imported."""


@irdl_attr_definition
class WeightAttr(ParametrizedAttribute):
    """A weight by reference: `#graph.weight<"conv1.weight", "sha256 hex", tensor<64x1x3x3xf32>, [steps]>`.

    The name and the hash find the stored array in a WeightStore, the type is that array's, the steps say what is done to it.
    No value is needed until a plan is built, so passes transform weights by appending steps."""

    name = "graph.weight"

    source: StringAttr
    sha256: StringAttr
    type: TensorType[Attribute]
    steps: ArrayAttr[StepAttr]

    def __init__(
        self,
        source: str | StringAttr,
        sha256: str | StringAttr,
        type: TensorType[Attribute],
        steps: Sequence[StepAttr] | ArrayAttr[StepAttr] = (),
    ) -> None:
        super().__init__(
            StringAttr(source) if isinstance(source, str) else source,
            StringAttr(sha256) if isinstance(sha256, str) else sha256,
            type,
            steps if isinstance(steps, ArrayAttr) else ArrayAttr(steps),
        )

    def verify(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.sha256.data):
            raise VerifyException(
                f'#graph.weight "{self.source.data}": the hash must be 64 hexadecimal digits, not "{self.sha256.data}"'
            )
        if not self.type.has_static_shape():
            raise VerifyException(f'#graph.weight "{self.source.data}": the stored type {self.type} must be static')
        self.result_type()

    def result_type(self) -> TensorType[Attribute]:
        """The type after all steps; VerifyException names the step that does not fit."""
        shape, element = self.type.get_shape(), str(self.type.element_type)
        for step in self.steps:
            try:
                shape, element = step_named(step.kind.data).infer(shape, element, step.values)
            except VerifyException as error:
                raise VerifyException(f'#graph.weight "{self.source.data}": {step}: {error}') from None
        same = element == str(self.type.element_type)
        return TensorType(self.type.element_type if same else element_type_named(element), shape)

    def then(self, *steps: StepAttr) -> WeightAttr:
        """The reference with `steps` appended, neighbours merged and steps that change nothing left out."""
        current = self
        for step in steps:
            current = _append(current, step)
        return current


def _append(weight: WeightAttr, step: StepAttr) -> WeightAttr:
    """`weight` with one more step: transposes compose, of neighbouring reshapes the last one stays."""
    before = weight.result_type()
    done = list(weight.steps)
    if done and done[-1].kind == step.kind and step.kind.data in ("transpose", "reshape"):
        previous = done.pop()
        before = WeightAttr(weight.source, weight.sha256, weight.type, done).result_type()
        if step.kind.data == "transpose":
            first = [int(v) for v in previous.values]
            step = StepAttr("transpose", shapes.compose_permutations(first, [int(v) for v in step.values]))
    if not _changes_nothing(step, before):
        done.append(step)
    return WeightAttr(weight.source, weight.sha256, weight.type, done)


def _changes_nothing(step: StepAttr, before: TensorType[Attribute]) -> bool:
    match step.kind.data:
        case "transpose":
            return list(step.values) == list(range(len(step.values)))
        case "reshape":
            return step.values == before.get_shape()
        case "pad":
            return before.get_shape()[int(step.values[0])] == step.values[1]
        case "cast":
            return step.values[0] == str(before.element_type)
        case _:
            return False


Dims = DenseArrayBase[IntegerType]
"""An array of 64-bit integers in a property: extents, strides, permutations."""


def dims_attr(values: Sequence[int]) -> Dims:
    """A property that holds these integers."""
    return DenseArrayBase.from_list(i64, list(values))
