"""Where ops stand in a text, and every op that does not verify: for messages that name file and line."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import (
    AnyFloat,
    ComplexType,
    DenseIntOrFPElementsAttr,
    IndexType,
    IntegerType,
    ModuleOp,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue, TypeAttribute
from xdsl.parser import AttrParser, Parser
from xdsl.parser.generic_parser import ParserState
from xdsl.utils.exceptions import ParseError, UnregisteredConstructException, VerifyException
from xdsl.utils.lexer import Input, Span

from stepwell.ir.dominance import misplaced_operands
from stepwell.ir.lexer import Lexer
from stepwell.ir.locations import names_of, op_name
from stepwell.ir.ssa_names import without_suffixes
from stepwell.runtime.errors import ModelError, StepwellError

DEEPEST = 64
"""How deep regions, types and attributes may nest: printing, cloning and passes recurse over them. Networks need fewer than ten levels."""
LARGEST_LITERAL = 1 << 24
"""Elements of a dense literal."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a text: `line` and `column` count from 1, 0 is none."""

    line: int
    message: str
    column: int = 0


@dataclass
class SourceMap:
    """The line of every op that was read from a text called `name`, which begins `offset` lines into its file."""

    name: str
    offset: int = 0
    lines: dict[Operation, int] = field(default_factory=dict)

    def line(self, op: Operation | None) -> int:
        """The line of `op`, else of the op that it is in, else of an op with the same source names, else 0."""
        around = op
        while around is not None:
            if around in self.lines:
                return self.lines[around]
            around = around.parent_op()
        return self.line_of_names(names_of(op)) if op is not None else 0

    def line_of_names(self, names: tuple[str, ...]) -> int:
        """The first line that holds an op with these source names, else the first with an op that has one of them, else 0."""
        return next(iter(self.lines_of_names(names)), 0)

    def lines_of_names(self, names: tuple[str, ...]) -> list[int]:
        """Every line that holds an op with exactly these source names; where there is none, as with a fused location, every line with
        an op that has some of them. No line for no names."""
        exact = [line for known, line in self.lines.items() if names and names_of(known) == names]
        return exact or [line for known, line in self.lines.items() if not set(names).isdisjoint(names_of(known))]


class SourceParser(Parser):
    """xDSL's parser with our lexer, which also keeps the line of each op and bounds how deep regions and attributes nest."""

    def __init__(self, ctx: Context, text: str, source: SourceMap) -> None:
        super().__init__(ctx, "", source.name)
        self._parser_state = ParserState(Lexer(Input(text, source.name)))
        self.source, self.text = source, text
        self.line_ends = [match.start() for match in re.finditer("\n", text)]
        self.depth = 0

    def current_line(self) -> int:
        """The line that the parser has come to."""
        return bisect_left(self.line_ends, self.pos) + 1

    def parse_operation(self) -> Operation:
        line = self.current_line()
        self.begins = self._current_token.span
        self._enter()
        op = super().parse_operation()
        self.depth -= 1
        self.source.lines[op] = line
        return op

    def parse_optional_type(self) -> TypeAttribute | None:
        self._enter()
        found = super().parse_optional_type()
        self.depth -= 1
        return found

    def parse_optional_attribute(self) -> Attribute | None:
        self._enter()
        found = super().parse_optional_attribute()
        self.depth -= 1
        return found

    def _enter(self) -> None:
        """One level deeper. An error ends the parse, so nothing counts down for it."""
        if self.depth >= DEEPEST:
            raise ParseError(self._current_token.span, f"nested deeper than {DEEPEST} levels")
        self.depth += 1

    def _register_ssa_definition(self, name: str, values: Sequence[SSAValue], span: Span) -> None:
        super()._register_ssa_definition(name, values, span)
        for value in values:
            value.name_hint = without_suffixes(value.name_hint)

    def _parse_block(self) -> Block:
        block = super()._parse_block()
        block.name_hint = without_suffixes(block.name_hint)
        return block

    def _parse_tensor_literal_element(self) -> Parser._TensorLiteralElement:
        element = super()._parse_tensor_literal_element()
        if element.span.text.startswith("0x"):
            return _HexFloat(element.is_negative, element.value, element.span)
        return element

    def _parse_dense_literal_type(self) -> Any:
        return self._bounded(super()._parse_dense_literal_type())

    def parse_dense_int_or_fp_elements_attr(self, type: Any) -> DenseIntOrFPElementsAttr:
        return super().parse_dense_int_or_fp_elements_attr(type if type is None else self._bounded(type))

    def _bounded(self, type: Any) -> Any:
        """The type of a dense literal, which xDSL keeps element by element, also where all are the same."""
        if prod(type.get_shape()) > LARGEST_LITERAL:
            self.raise_error(f"a literal of more than {LARGEST_LITERAL} elements: weights lie beside the text")
        return type

    def _get_op_by_name(self, name: str) -> type[Operation]:
        """As xDSL's, with the error at the op and not at what follows its name."""
        try:
            return super()._get_op_by_name(name)
        except ParseError as error:
            raise ParseError(self.begins, error.msg) from None


class _HexFloat(Parser._TensorLiteralElement):
    """An element of a dense literal written as 0x7F800000: the bits of a float. xDSL 0.74 prints infinities and NaNs so, and reads the
    digits back as a number."""

    def to_type(self, parser: AttrParser, type: AnyFloat | IntegerType | IndexType | ComplexType) -> Any:
        if not isinstance(type, AnyFloat) or not isinstance(self.value, int):
            return super().to_type(parser, type)
        return type.unpack(self.value.to_bytes(type.bitwidth // 8, "little"), 1)[0]


class SourceError(ModelError):
    """A text that cannot be parsed or does not verify (exit 3); `problems` hold the lines."""

    def __init__(self, problems: list[Problem], source: SourceMap) -> None:
        listed = [f"{source.name}:{_place(p, source.offset)}: {p.message}" for p in problems]
        super().__init__("the module is not valid", where=source.name, reasons=listed)
        self.problems = problems


def _place(problem: Problem, offset: int) -> str:
    line = str(problem.line + offset) if problem.line else "?"
    return f"{line}:{problem.column}" if problem.column else line


def parse_text(ctx: Context, text: str, source: SourceMap, *, implicit_module: bool = True) -> ModuleOp:
    """Parse `text`; a SourceError names line and column. Whatever the parser raises on a text is about the text."""
    parser: SourceParser | None = None
    try:
        parser = SourceParser(ctx, text, source)
        return parser.parse_module(implicit_module)
    except ParseError as error:
        raise SourceError([_problem_at(text, error.span.start, error.msg)], source) from error
    except (StepwellError, MemoryError):
        raise
    except Exception as error:
        raise SourceError([_problem_at(text, parser.pos if parser else 0, reason_of(error))], source) from error


def reason_of(error: BaseException) -> str:
    """What an exception says; its kind where the text alone would not be understood."""
    plain = isinstance(error, VerifyException | UnregisteredConstructException | ValueError) and str(error)
    return str(error) if plain else f"{type(error).__name__}: {error}".removesuffix(": ")


def _problem_at(text: str, position: int, message: str) -> Problem:
    begin = text.rfind("\n", 0, position) + 1
    return Problem(text.count("\n", 0, begin) + 1, message, position - begin + 1)


def verification_problems(module: ModuleOp, source: SourceMap) -> list[Problem]:
    """Every op of `module` that does not verify, not only the first: xDSL stops at one. Verifiers may raise anything on what was read."""
    try:
        module.verify()
        return [
            Problem(source.line(op), f"{_described(op)}: operand {index} is used where it is not defined")
            for op, index in misplaced_operands(module)
        ]
    except (StepwellError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001
        first = error
    problems: list[Problem] = []
    for op in module.walk(reverse=False):
        try:
            op.verify(verify_nested_ops=False)
        except Exception as error:  # noqa: BLE001
            problems.append(Problem(source.line(op), f"{_described(op)}: {reason_of(error)}"))
    return problems or [Problem(0, reason_of(first))]


def _described(op: Operation) -> str:
    names = " + ".join(names_of(op))
    return f"'{op_name(op)}' op" + (f" ({names})" if names else "")


def verify_text(module: ModuleOp, source: SourceMap) -> None:
    """Verify `module` as read from `source`; a SourceError lists all problems."""
    problems = verification_problems(module, source)
    if problems:
        raise SourceError(problems, source)
