"""Control flow: branches and loops. Their regions see the values around them and end in `graph.yield`."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import IntegerAttr, IntegerType, NoneType, StringAttr, TensorType, i1, i64
from xdsl.ir import Attribute, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import RecursiveMemoryEffect
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import Value, as_attribute, maybe
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.extents import Extent
from stepwell.dialects.graph.ops_fusion import YieldOp


def yielded(region: Region, what: str) -> list[Attribute]:
    """The types that a region's yield gives."""
    last = region.block.last_op
    if not isinstance(last, YieldOp):
        raise VerifyException(f"{what} must end in graph.yield")
    return [value.type for value in last.values]


def same_types(found: Sequence[Attribute], wanted: Sequence[Attribute], what: str) -> None:
    """Check two lists of types."""
    if list(found) != list(wanted):
        raise VerifyException(
            f"{what} ({', '.join(map(str, found))}), but ({', '.join(map(str, wanted))}) is needed: they must be the same"
        )


@irdl_op_definition
class IfOp(IRDLOperation):
    """One of two branches: `%r = graph.if %c -> (tensor<4xf32>) { .. graph.yield %a : tensor<4xf32> } else { .. graph.yield %b : tensor<4xf32> }`.

    The condition is a tensor<i1>; only the branch that it picks runs. Both regions take no arguments, see the values around them, and yield the
    results' types."""

    name = "graph.if"

    condition = operand_def(TensorType)
    outputs = var_result_def(TensorType)
    then_region = region_def("single_block")
    else_region = region_def("single_block")

    traits = traits_def(RecursiveMemoryEffect())

    def __init__(
        self, condition: Value, result_types: Sequence[Attribute], then_region: Region, else_region: Region
    ) -> None:
        super().__init__(operands=[condition], result_types=[result_types], regions=[then_region, else_region])

    def verify_(self) -> None:
        with checks.named(self.name):
            checks.scalar(self.condition, "the condition", (i1,))
            types = [result.type for result in self.outputs]
            for region, what in ((self.then_region, "the first branch"), (self.else_region, "the other branch")):
                same_types([argument.type for argument in region.block.args], [], f"{what} takes")
                same_types(yielded(region, what), types, f"{what} yields")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.condition)
        _print_types(printer, self)
        printer.print_string(" ")
        printer.print_region(self.then_region)
        printer.print_string(" else ")
        printer.print_region(self.else_region)

    @classmethod
    def parse(cls, parser: Parser) -> IfOp:
        condition = parser.resolve_operand(parser.parse_unresolved_operand(), TensorType(i1, []))
        types, attributes = _parse_types(parser)
        first = parser.parse_region()
        parser.parse_keyword("else")
        op = cls(condition, types, first, parser.parse_region())
        op.attributes.update(attributes)
        return op


@irdl_op_definition
class LoopOp(IRDLOperation):
    """Repetition: `%s, %ys = graph.loop (%i, %x = %init : tensor<4xf32>) bound 8 -> (tensor<4xf32>, tensor<8x4xf32>) { .. graph.yield %next, %slice : .. }`.

    The region gets the iteration (tensor<i64>, from 0) and the carried values, and yields the carried values of the next iteration and slices; results
    are the last carried values and, for each slice, all of them stacked along a new first dim. Without `trip` and `while` it runs exactly `bound`
    times. `trip %n : tensor<i64>` says how often, `while %c : tensor<i1>` whether to begin: then the region yields first whether to go on.
    With either of them the number of iterations is known on the device only: stacked results have a counted extent, named by `as "steps"`, with the
    bound that `bound` gives (more iterations than it are refused; a loop that stacks nothing may have none)."""

    name = "graph.loop"

    trip = opt_operand_def(TensorType)
    condition = opt_operand_def(TensorType)
    carried = var_operand_def(TensorType)
    bound_attr = opt_prop_def(IntegerAttr[IntegerType].constr(i64), prop_name="bound")
    symbol_attr = opt_prop_def(StringAttr, prop_name="symbol")
    outputs = var_result_def(TensorType)
    body = region_def("single_block")

    traits = traits_def(RecursiveMemoryEffect())
    irdl_options = (AttrSizedOperandSegments(as_property=True),)

    def __init__(
        self,
        carried: Sequence[Value],
        body: Region,
        *,
        trip: Value | None = None,
        condition: Value | None = None,
        bound: int | None = None,
        symbol: str | None = None,
    ) -> None:
        given = {"bound": as_attribute(bound), "symbol": as_attribute(symbol)}
        values = [SSAValue.get(value) for value in carried]
        stacked = max(0, len(yielded(body, "graph.loop: the body")) - len(values) - (condition is not None))
        super().__init__(
            operands=[maybe(trip), maybe(condition), values],
            properties={key: value for key, value in given.items() if value is not None},
            result_types=[[*(value.type for value in values), *[NoneType()] * stacked]],
            regions=[body],
        )
        with checks.named(self.name):
            types = self.infer()
        for result, type in zip(self.results, types, strict=True):
            result._type = type

    @property
    def bound(self) -> int | None:
        """The most iterations, or exactly how many."""
        return None if self.bound_attr is None else self.bound_attr.value.data

    @property
    def counted(self) -> bool:
        """True when the number of iterations is a value."""
        return self.trip is not None or self.condition is not None

    @property
    def leading(self) -> int:
        """How many values the yield gives before the carried ones: the condition to go on, or nothing."""
        return 0 if self.condition is None else 1

    def infer(self) -> list[Attribute]:
        """The types of the results: the carried ones, then each slice stacked."""
        types = yielded(self.body, "the body")
        carried = [value.type for value in self.carried]
        arguments = [argument.type for argument in self.body.block.args]
        same_types(arguments, [Tensor(i64, ()).type, *carried], "the body takes")
        first = [Tensor(i1, ()).type] * self.leading
        front = len(first) + len(carried)
        same_types(types[:front], [*first, *carried], "the body yields first")
        return [*carried, *(self._stacked(type) for type in types[front:])]

    def _stacked(self, type: Attribute) -> Attribute:
        one = checks.tensor(type, "a slice")
        if self.bound is None:
            raise VerifyException(
                "its slices are stacked: give a bound, the most iterations that memory is planned for"
            )
        if not self.counted:
            return Tensor(one.element, (self.bound, *one.shape)).type
        if self.symbol_attr is None:
            raise VerifyException('the number of iterations is a value: name the stacked extent, as "steps"')
        return Tensor(one.element, (Extent(self.symbol_attr.data, self.bound), *one.shape)).type

    def verify_(self) -> None:
        with checks.named(self.name):
            if self.trip is not None:
                checks.scalar(self.trip, "the trip count", (i64,))
            if self.condition is not None:
                checks.scalar(self.condition, "the condition", (i1,))
            if not self.counted and self.bound is None:
                raise VerifyException("it would never end: give a bound, a trip count or a condition")
            if self.bound is not None and self.bound < 0:
                raise VerifyException(f"bound {self.bound} must not be negative")
            same_types([result.type for result in self.outputs], self.infer(), "the results are")

    def print(self, printer: Printer) -> None:
        iteration, *arguments = self.body.block.args
        printer.print_string(" ")
        with printer.in_parens():
            printer.print_ssa_value(iteration)
            for argument, value in zip(arguments, self.carried, strict=True):
                printer.print_string(", ")
                printer.print_ssa_value(argument)
                printer.print_string(" = ")
                printer.print_ssa_value(value)
                printer.print_string(" : ")
                printer.print_attribute(value.type)
        for word, operand in (("trip", self.trip), ("while", self.condition)):
            if operand is not None:
                printer.print_string(f" {word} ")
                printer.print_ssa_value(operand)
        if self.bound is not None:
            printer.print_string(f" bound {self.bound}")
        if self.symbol_attr is not None:
            printer.print_string(" as ")
            printer.print_string_literal(self.symbol_attr.data)
        _print_types(printer, self)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)

    @classmethod
    def parse(cls, parser: Parser) -> LoopOp:
        scalar = Tensor(i64, ()).type
        entries = parser.parse_comma_separated_list(parser.Delimiter.PAREN, lambda: _parse_entry(parser))
        operands = {
            word: parser.resolve_operand(parser.parse_unresolved_operand(), type)
            if parser.parse_optional_keyword(word)
            else None
            for word, type in (("trip", scalar), ("while", Tensor(i1, ()).type))
        }
        bound = parser.parse_integer() if parser.parse_optional_keyword("bound") else None
        symbol = parser.parse_str_literal() if parser.parse_optional_keyword("as") else None
        types, attributes = _parse_types(parser)
        if not entries or [value is None for _, value in entries] != [True, *[False] * (len(entries) - 1)]:
            parser.raise_error(
                "a loop takes its iteration first, alone, then each carried value as %name = %value : type"
            )
        carried = [value for _, value in entries if value is not None]
        types_of = [scalar, *(value.type for value in carried)]
        arguments = [argument.resolve(type) for (argument, _), type in zip(entries, types_of, strict=True)]
        given = {"bound": as_attribute(bound), "symbol": as_attribute(symbol)}
        op = cls.build(
            operands=[maybe(operands["trip"]), maybe(operands["while"]), carried],
            properties={key: value for key, value in given.items() if value is not None},
            result_types=[types],
            regions=[parser.parse_region(arguments)],
        )
        op.attributes.update(attributes)
        return op


def _parse_entry(parser: Parser) -> tuple[Parser.UnresolvedArgument, SSAValue | None]:
    argument = parser.parse_argument(expect_type=False)
    if not parser.parse_optional_punctuation("="):
        return argument, None
    operand = parser.parse_unresolved_operand()
    parser.parse_punctuation(":")
    return argument, parser.resolve_operand(operand, parser.parse_type())


def _print_types(printer: Printer, op: IfOp | LoopOp) -> None:
    printer.print_string(" -> ")
    with printer.in_parens():
        printer.print_list(op.outputs, lambda result: printer.print_attribute(result.type))
    if op.attributes:
        printer.print_op_attributes(op.attributes, print_keyword=True)


def _parse_types(parser: Parser) -> tuple[Sequence[Attribute], dict[str, Attribute]]:
    parser.parse_punctuation("->")
    types = parser.parse_comma_separated_list(parser.Delimiter.PAREN, parser.parse_type)
    attributes = parser.parse_optional_attr_dict_with_keyword()
    return types, dict(attributes.data) if attributes is not None else {}
