"""Where ops stand in a text, and every op that does not verify: for messages that name file and line."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import AnyFloat, ComplexType, IndexType, IntegerType, ModuleOp
from xdsl.ir import Operation
from xdsl.parser import AttrParser, Parser
from xdsl.utils.exceptions import ParseError, UnregisteredConstructException, VerifyException

from stepwell.levels import op_name
from stepwell.passes import names_of
from stepwell.runtime.errors import ModelError


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a text: `line` counts from 1, 0 is no line of it."""

    line: int
    message: str


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
    """xDSL's parser, which also keeps the line of each op."""

    def __init__(self, ctx: Context, text: str, source: SourceMap) -> None:
        super().__init__(ctx, text, source.name)
        self.source, self.text = source, text
        self.line_ends = [match.start() for match in re.finditer("\n", text)]

    def current_line(self) -> int:
        """The line that the parser has come to."""
        return bisect_left(self.line_ends, self.pos) + 1

    def parse_operation(self) -> Operation:
        line = self.current_line()
        self.begins = self._current_token.span
        op = super().parse_operation()
        self.source.lines[op] = line
        return op

    def _parse_tensor_literal_element(self) -> Parser._TensorLiteralElement:
        element = super()._parse_tensor_literal_element()
        if element.span.text.startswith("0x"):
            return _HexFloat(element.is_negative, element.value, element.span)
        return element

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
        listed = [f"{source.name}:{p.line + source.offset if p.line else '?'}: {p.message}" for p in problems]
        super().__init__("the module is not valid", where=source.name, reasons=listed)
        self.problems = problems


def parse_text(ctx: Context, text: str, source: SourceMap, *, implicit_module: bool = True) -> ModuleOp:
    """Parse `text`; a SourceError names the line."""
    parser: SourceParser | None = None
    try:
        parser = SourceParser(ctx, text, source)
        return parser.parse_module(implicit_module)
    except ParseError as error:
        line = text.count("\n", 0, error.span.start) + 1
        raise SourceError([Problem(line, error.msg)], source) from error
    except (VerifyException, UnregisteredConstructException, ValueError) as error:
        raise SourceError([Problem(parser.current_line() if parser else 1, str(error))], source) from error


def verification_problems(module: ModuleOp, source: SourceMap) -> list[Problem]:
    """Every op of `module` that does not verify, not only the first: xDSL stops at one."""
    try:
        module.verify()
        return []
    except (VerifyException, ValueError) as error:
        first = error
    problems: list[Problem] = []
    for op in module.walk(reverse=False):
        try:
            op.verify(verify_nested_ops=False)
        except (VerifyException, ValueError) as error:
            names = " + ".join(names_of(op))
            place = f"'{op_name(op)}' op" + (f" ({names})" if names else "")
            problems.append(Problem(source.line(op), f"{place}: {error}"))
    return problems or [Problem(0, str(first))]


def verify_text(module: ModuleOp, source: SourceMap) -> None:
    """Verify `module` as read from `source`; a SourceError lists all problems."""
    problems = verification_problems(module, source)
    if problems:
        raise SourceError(problems, source)
