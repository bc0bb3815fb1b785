"""PTX text as words, numbers and marks, each with its line."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from stepwell.codegen.ptx_interpreter.syntax import PtxRefused

_TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*|/\*.*?\*/)|(?P<string>"[^"\n]*")|(?P<float>0[fF][0-9A-Fa-f]{8}\b|0[dD][0-9A-Fa-f]{16}\b)
    |(?P<word>[.%$A-Za-z_][\w$.%]*(?:::[\w.]+)*)|(?P<number>0[xX][0-9A-Fa-f]+U?|\d+\.\d+|\d+U?)|(?P<mark>[;,{}\[\]()<>:@!+\-|])""",
    re.VERBOSE | re.DOTALL,
)


_DIGITS = 24
"""The longest text of a number, octal ones of 64 bits included."""


@dataclass(frozen=True)
class Token:
    """One word, number, string or mark."""

    kind: str
    text: str
    start: int
    end: int


class Tokens:
    """Reads tokens from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self.tokens = self._split()
        self.at = 0

    def _split(self) -> list[Token]:
        found, position = [], 0
        while position < len(self.text):
            match = _TOKEN.match(self.text, position)
            if match is None:
                raise self.error(f"a character that is not PTX: {self.text[position]!r}", position)
            if match.lastgroup != "blank":
                found.append(Token(str(match.lastgroup), match.group(), position, match.end()))
            position = match.end()
        return [*found, Token("end", "the end of the text", position, position)]

    # --- tokens

    def line(self, position: int) -> int:
        """The line, from 1, of a position."""
        return bisect_right(self.lines, position)

    def error(self, what: str, position: int | None = None) -> PtxRefused:
        """An error at the token that is next, or at a position."""
        start = self.tokens[self.at].start if position is None else position
        return PtxRefused(what, where=f"PTX line {self.line(start)}")

    @property
    def next(self) -> Token:
        """The token that comes next."""
        return self.tokens[self.at]

    def take(self, *texts: str) -> Token:
        """The next token, which must be one of `texts` when any are given."""
        token = self.next
        if (texts and token.text not in texts) or token.kind == "end":
            raise self.error(f"{token.text!r} where {' or '.join(texts) or 'more'} is expected")
        self.at += 1
        return token

    def accept(self, text: str) -> bool:
        """Whether the next token is `text`; it is taken then."""
        if self.next.text != text:
            return False
        self.at += 1
        return True

    def word(self) -> str:
        """A word."""
        if self.next.kind != "word":
            raise self.error(f"{self.next.text!r} where a name is expected")
        return self.take().text

    def integer(self) -> int:
        """An integer with its sign."""
        sign = -1 if self.accept("-") else 1
        if self.next.kind != "number" or "." in self.next.text:
            raise self.error(f"{self.next.text!r} where an integer is expected")
        if len(self.next.text) > _DIGITS:
            raise self.error("a number of more than 64 bits")
        text = self.take().text.rstrip("U")
        octal = text.isdigit() and len(text) > 1 and text[0] == "0"
        if octal and not set(text) <= set("01234567"):
            raise self.error(f"{text} is no octal number")
        return sign * int(text, 8 if octal else 0)
