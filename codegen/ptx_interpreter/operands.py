"""Operands of PTX instructions, and the scopes in which their names mean something."""

from __future__ import annotations

from dataclasses import dataclass, field

from stepwell.codegen.ptx_interpreter.syntax import (
    Address,
    Immediate,
    Negated,
    Operand,
    Register,
    Sink,
    Special,
    Symbol,
    Vector,
)
from stepwell.codegen.ptx_interpreter.tokens import Tokens

_SPECIALS = frozenset(f"{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz")


@dataclass(frozen=True)
class Scope:
    """Registers and labels between braces."""

    outer: Scope | None = None
    registers: dict[str, Register] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)

    def register(self, name: str) -> Register | None:
        """The innermost register of this name."""
        return self.registers.get(name) or (self.outer.register(name) if self.outer else None)

    def label(self, name: str) -> int | None:
        """The innermost label of this name."""
        found = self.labels.get(name)
        return found if found is not None or self.outer is None else self.outer.label(name)


@dataclass(frozen=True)
class Branch:
    """A label that is looked up when its scope is complete."""

    name: str
    scope: Scope


class Operands(Tokens):
    """Reads operands from left to right."""

    def register(self, scope: Scope) -> Register:
        """A register of the scope."""
        name = self.word()
        register = scope.register(name)
        if register is None:
            self.at -= 1
            raise self.error(f"{name} is not a register of this scope")
        return register

    def operand(self, scope: Scope) -> Operand | Branch:
        """One operand."""
        token = self.next
        if self.accept("{"):
            return self._vector(scope)
        if self.accept("["):
            return self._address(scope)
        if self.accept("!"):
            return Negated(self.register(scope))
        if token.kind == "float":
            self.take()
            return Immediate(int("0x" + token.text[2:], 0), "f32" if token.text[1] in "fF" else "f64")
        if token.kind == "number" or token.text == "-":
            return Immediate(self.integer())
        name = self.word()
        if name == "_":
            return Sink()
        if name[1:] in _SPECIALS and name[0] == "%":
            return Special(name[1:])
        register = scope.register(name)
        if register is not None:
            return register
        if name.startswith("%"):
            self.at -= 1
            raise self.error(f"unknown register {name}")
        return Branch(name, scope)

    def _vector(self, scope: Scope) -> Vector:
        items: list[Operand] = []
        while not self.accept("}"):
            item = self.operand(scope)
            if isinstance(item, Branch):
                raise self.error(f"{item.name} cannot stand in braces")
            items.append(item)
            self.accept(",")
        return Vector(tuple(items))

    def _address(self, scope: Scope) -> Address:
        name = self.word()
        base = scope.register(name) or Symbol(name)
        offset, coordinates = 0, None
        if self.next.text in ("+", "-"):
            self.accept("+")
            offset = self.integer()
        if self.accept(","):
            self.take("{")
            coordinates = self._vector(scope)
        self.take("]")
        return Address(base, offset, coordinates)
