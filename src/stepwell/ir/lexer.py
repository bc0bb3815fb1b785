"""MLIR's tokens, with the string literals that xDSL 0.74 gets wrong: an unclosed quote takes time linear in the text, and text in other
alphabets, which the printer writes as bytes (`"\\C3\\A9"`), is read back as text."""

from __future__ import annotations

import re

from xdsl.utils.exceptions import ParseError
from xdsl.utils.lexer import Position, Span, Token
from xdsl.utils.mlir_lexer import MLIRLexer, MLIRToken, MLIRTokenKind, StringLiteral

_PLAIN = r'[^"\\\n\v\f]*'
_ESCAPE = r'\\(?:["nt\\]|[0-9A-Fa-f]{2})'
_STRING = re.compile(f'"{_PLAIN}(?:{_ESCAPE}{_PLAIN})*"')
"""Each character can be matched in one way only, so a failing match does not backtrack."""
_NUMBER = re.compile("[0-9]")


class Lexer(MLIRLexer):
    """xDSL's lexer with its string literals mended."""

    def _lex_string_literal(self, start_pos: Position) -> MLIRToken:
        match = _STRING.match(self.input.content, start_pos)
        if match is None:
            span = Span(start_pos, start_pos + 1, self.input)
            raise ParseError(span, "this string does not end, or holds an escape that is none")
        self.pos = match.end()
        literal = StringLiteral(start_pos, self.pos, self.input)
        return Token(MLIRTokenKind.STRING_LIT if _is_text(literal) else MLIRTokenKind.BYTES_LIT, literal)

    def _lex_number(self, start_pos: Position) -> MLIRToken:
        if _NUMBER.match(self.input.content, start_pos) is None:  # a digit of another alphabet
            raise ParseError(Span(start_pos, start_pos + 1, self.input), "this is no digit")
        return super()._lex_number(start_pos)


def _is_text(literal: StringLiteral) -> bool:
    """Whether the bytes that the literal stands for are UTF-8."""
    try:
        literal.bytes_contents.decode()
    except UnicodeDecodeError:
        return False
    return True
