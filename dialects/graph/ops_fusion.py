"""`graph.fusion`: one unit of code generation, usually one kernel launch, and its terminator."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, IsTerminator, Pure, RecursiveMemoryEffect
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks


@irdl_op_definition
class FusionOp(IRDLOperation):
    """One unit of code generation: an isolated region over tensors that ends in `graph.yield`; it may have several results.

    `%y = graph.fusion "conv1" (%a = %x : tensor<..>, %b = %w : tensor<..>) -> (tensor<..>) config #tile.config<..> {attrs} { .. }`.
    The name is unique within the module and becomes the kernel's. `config` is its schedule, absent until one is chosen. The body holds
    graph ops, and after the lowering linalg ops."""

    name = "graph.fusion"

    inputs = var_operand_def()
    fusion_name = prop_def(StringAttr, prop_name="name")
    config = opt_prop_def(Attribute)
    outputs = var_result_def()
    body = region_def("single_block")

    traits = traits_def(IsolatedFromAbove(), RecursiveMemoryEffect())

    def __init__(
        self,
        name: str,
        inputs: Sequence[SSAValue],
        result_types: Sequence[Attribute],
        body: Region | None = None,
        config: Attribute | None = None,
    ) -> None:
        region = body or Region(Block(arg_types=[value.type for value in inputs]))
        super().__init__(
            operands=[inputs],
            properties={"name": StringAttr(name), "config": config},
            result_types=[result_types],
            regions=[region],
        )

    @property
    def terminator(self) -> YieldOp:
        """The yield that ends the body."""
        last = self.body.block.last_op
        if not isinstance(last, YieldOp):
            raise VerifyException("graph.fusion: the body must end in graph.yield")
        return last

    def verify_(self) -> None:
        with checks.named(f'{self.name} "{self.fusion_name.data}"'):
            if not self.outputs:
                raise VerifyException("it has no result and so computes nothing: remove it")
            for position, result in enumerate(self.outputs):
                checks.tensor(result, f"result {position}")
            arguments = [argument.type for argument in self.body.block.args]
            operands = [operand.type for operand in self.inputs]
            if arguments != operands:
                raise VerifyException(
                    f"the body takes ({', '.join(map(str, arguments))}), the operands are ({', '.join(map(str, operands))}): "
                    "they must be the same"
                )
            yielded = [value.type for value in self.terminator.values]
            results = [result.type for result in self.outputs]
            if yielded != results:
                raise VerifyException(
                    f"the body yields ({', '.join(map(str, yielded))}), the results are ({', '.join(map(str, results))}): "
                    "they must be the same"
                )

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_string_literal(self.fusion_name.data)
        printer.print_string(" ")
        with printer.in_parens():
            printer.print_list(
                zip(self.body.block.args, self.inputs, strict=True), lambda pair: _print_binding(printer, *pair)
            )
        printer.print_string(" -> ")
        with printer.in_parens():
            printer.print_list(self.outputs, lambda result: printer.print_attribute(result.type))
        if self.config is not None:
            printer.print_string(" config ")
            printer.print_attribute(self.config)
        if self.attributes:
            printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)

    @classmethod
    def parse(cls, parser: Parser) -> FusionOp:
        name = parser.parse_str_literal()
        bindings = parser.parse_comma_separated_list(parser.Delimiter.PAREN, lambda: _parse_binding(parser))
        parser.parse_punctuation("->")
        results = parser.parse_comma_separated_list(parser.Delimiter.PAREN, parser.parse_type)
        config = parser.parse_attribute() if parser.parse_optional_keyword("config") else None
        attributes = parser.parse_optional_attr_dict_with_keyword()
        body = parser.parse_region([argument for argument, _ in bindings])
        op = cls(name, [value for _, value in bindings], results, body, config)
        op.attributes.update(attributes.data if attributes is not None else {})
        return op


def _print_binding(printer: Printer, argument: SSAValue, operand: SSAValue) -> None:
    printer.print_ssa_value(argument)
    printer.print_string(" = ")
    printer.print_ssa_value(operand)
    printer.print_string(" : ")
    printer.print_attribute(operand.type)


def _parse_binding(parser: Parser) -> tuple[Parser.Argument, SSAValue]:
    argument = parser.parse_argument(expect_type=False)
    parser.parse_punctuation("=")
    operand = parser.parse_unresolved_operand()
    parser.parse_punctuation(":")
    type = parser.parse_type()
    return argument.resolve(type), parser.resolve_operand(operand, type)


ENDED_BY_YIELD = ("graph.fusion", "graph.if", "graph.loop")
"""Ops whose regions end in graph.yield."""


@irdl_op_definition
class YieldOp(IRDLOperation):
    """Ends a region and gives its values: the results of a fusion or of a branch, what a loop's body hands on: `graph.yield %r : tensor<4xf32>`."""

    name = "graph.yield"

    values = var_operand_def()

    traits = traits_def(IsTerminator(), Pure())

    assembly_format = "attr-dict ($values^ `:` type($values))?"

    def __init__(self, *values: SSAValue | Operation) -> None:
        super().__init__(operands=[values])

    def verify_(self) -> None:
        parent = self.parent_op()
        if parent is None or parent.name not in ENDED_BY_YIELD:
            listed = ", ".join(f"'{name}'" for name in ENDED_BY_YIELD)
            raise VerifyException(f"'{self.name}' expects parent op to be one of {listed}")
