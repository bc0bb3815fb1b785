"""PTX text to `Module`: declarations, scopes of registers and labels, instructions with their lines. What it does not know it refuses by name."""

from __future__ import annotations

from stepwell.codegen.ptx_interpreter.operands import Branch, Operands, Scope
from stepwell.codegen.ptx_interpreter.syntax import (
    Entry,
    Instruction,
    Module,
    Operand,
    Parameter,
    Register,
    Shared,
    Symbol,
    Target,
)

_BYTES = {"8": 1, "16": 2, "32": 4, "64": 8}
_REGISTERS, _NESTING, _BYTES_LIMIT = 1 << 16, 64, 1 << 20
"""How many registers a declaration may make, how deep scopes may nest, how many bytes a variable may have: more than any kernel has."""
_LAUNCH_BOUNDS = frozenset({".maxntid", ".reqntid", ".minnctapersm", ".maxnreg"})


def parse(text: str) -> Module:
    """The module that `text` says; PtxRefused with the line where it is malformed or says something unknown."""
    return _Parser(text).module()


class _Parser(Operands):
    """Reads tokens from left to right."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.shared: list[Shared] = []
        self.counts: dict[int, int] = {}
        self.instructions: list[Instruction] = []
        self.pending: list[tuple[int, int, Branch]] = []

    # --- module

    def module(self) -> Module:
        """Everything."""
        entries, target = {}, ""
        while self.next.kind != "end":
            match self.word():
                case ".version":
                    self.take()
                case ".target":
                    target = self.word()
                case ".address_size":
                    if self.integer() != 64:
                        raise self.error("addresses of other than 64 bits")
                case ".extern" | ".shared" as first:
                    self._shared(first)
                case ".visible" | ".entry" as first:
                    if first == ".visible":
                        self.take(".entry")
                    entry = self._entry()
                    if entry.name in entries:
                        raise self.error(f"the entry {entry.name} stands twice")
                    entries[entry.name] = entry
                case other:
                    self.at -= 1
                    raise self.error(f"unknown directive {other}")
        return Module(entries, tuple(self.shared), target)

    def _shared(self, first: str) -> None:
        if first == ".extern":
            self.take(".shared")
        alignment = self._alignment()
        size = self._bytes(self.word())
        name = self.word()
        count = 1
        if self.accept("["):
            count = 0 if self.next.text == "]" else self._count()
            self.take("]")
        self.take(";")
        self.shared.append(Shared(name, size * count, alignment or size))

    def _alignment(self) -> int:
        """Of `.align N`; 0 where there is none."""
        if not self.accept(".align"):
            return 0
        alignment = self.integer()
        if alignment < 1 or alignment & (alignment - 1) or alignment > _BYTES_LIMIT:
            raise self.error(f"an alignment of {alignment}")
        return alignment

    def _count(self) -> int:
        count = self.integer()
        if not 1 <= count <= _BYTES_LIMIT:
            raise self.error(f"a variable of {count} elements")
        return count

    def _bytes(self, type: str) -> int:
        size = _BYTES.get(type[2:]) if type[:2] in (".b", ".u", ".s", ".f") else None
        if size is None:
            self.at -= 1
            raise self.error(f"unknown type {type}")
        return size

    def _entry(self) -> Entry:
        name, parameters, threads = self.word(), self._parameters(), 0
        while self.next.text in _LAUNCH_BOUNDS:
            directive, extents = self.take().text, [self.integer()]
            while self.accept(","):
                extents.append(self.integer())
            if directive in (".maxntid", ".reqntid"):
                threads = extents[0]
        self.counts, self.instructions, self.pending = {}, [], []
        self.take("{")
        self._body(Scope())
        for number, position, branch in self.pending:
            self._resolve(number, position, branch)
        return Entry(name, parameters, threads, self.counts, tuple(self.instructions))

    def _parameters(self) -> tuple[Parameter, ...]:
        if not self.accept("("):
            return ()
        found, offset = [], 0
        while not self.accept(")"):
            self.take(".param")
            alignment = self._alignment()
            size = self._bytes(self.word())
            while self.next.text in (".ptr", ".global", ".shared", ".align"):
                if self.take().text == ".align":  # of what the pointer points at
                    self.integer()
            name, count = self.word(), 1
            if self.accept("["):
                count = self._count()
                self.take("]")
            unit = alignment or size
            offset = -(-offset // unit) * unit
            found.append(Parameter(name, offset, size * count))
            offset += size * count
            self.accept(",")
        return tuple(found)

    # --- bodies

    def _body(self, scope: Scope, depth: int = 0) -> None:
        if depth > _NESTING:
            raise self.error(f"more than {_NESTING} scopes in each other")
        while not self.accept("}"):
            if self.accept("{"):
                self._body(Scope(scope), depth + 1)
            elif self.accept(".reg"):
                self._registers(scope)
            elif self.accept(".shared"):
                self._shared(".shared")
            elif self.accept(".pragma"):
                self.take()
                self.take(";")
            elif self.next.kind == "word" and self.tokens[self.at + 1].text == ":":
                label = self.word()
                if label in scope.labels:
                    raise self.error(f"the label {label} stands twice in one scope")
                scope.labels[label] = len(self.instructions)
                self.take(":")
            else:
                self._instruction(scope)

    def _registers(self, scope: Scope) -> None:
        type = self.word()
        width = 1 if type == ".pred" else 8 * self._bytes(type)
        if width == 8:
            raise self.error("registers of 8 bits")
        while True:
            name = self.word()
            names = [name]
            if self.accept("<"):
                count = self.integer()
                if not 0 <= count <= _REGISTERS:
                    raise self.error(f"{count} registers in one declaration")
                names = [f"{name}{i}" for i in range(count)]
                self.take(">")
            for each in names:
                number = self.counts.get(width, 0)
                self.counts[width] = number + 1
                scope.registers[each] = Register(width, number, each)
            if self.take(",", ";").text == ";":
                return

    def _instruction(self, scope: Scope) -> None:
        start, guard, negated = self.next.start, None, False
        if self.accept("@"):
            negated = self.accept("!")
            guard = self.register(scope)
        if self.next.text.startswith("."):
            raise self.error(f"unknown directive {self.next.text}")
        name, operands = self.word(), list[Operand | Branch]()
        while not self.accept(";"):
            operands.append(self.operand(scope))
            if not self.accept("|") and self.next.text != ";":
                self.take(",")
        text = " ".join(self.text[start : self.tokens[self.at - 1].start].split())
        for position, operand in enumerate(operands):
            if isinstance(operand, Branch):
                self.pending.append((len(self.instructions), position, operand))
        held = tuple(Target(-1) if isinstance(operand, Branch) else operand for operand in operands)
        self.instructions.append(Instruction(self.line(start), text, name, held, guard, negated))

    def _resolve(self, number: int, position: int, branch: Branch) -> None:
        """Put what a name stands for, now that all labels are known: a label, else a variable."""
        instruction = self.instructions[number]
        index = branch.scope.label(branch.name)
        operands = list(instruction.operands)
        operands[position] = Symbol(branch.name) if index is None else Target(index)
        self.instructions[number] = Instruction(
            instruction.line,
            instruction.text,
            instruction.name,
            tuple(operands),
            instruction.guard,
            instruction.negated,
        )
