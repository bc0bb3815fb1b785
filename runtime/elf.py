"""Loader for x86-64 ELF relocatable objects: maps code, resolves relocations, makes it executable. No linker, no LLVM.

Sections go into one anonymous mapping in three groups: code with call stubs, read-only data with the GOT, writable
data. The mapping is written and relocated while it is read-write, then code becomes read-execute and constants
read-only: no page is ever writable and executable. Parsing trusts no number in the file: whatever does not fit is a
PlanError. Relocations: System V ABI, AMD64 supplement, table 4.9.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from stepwell.runtime.errors import PlanError

PAGE = mmap.PAGESIZE
MAX_IMAGE = 1 << 30
"""Bytes of one image: PC-relative relocations reach 2 GiB."""
EXTERNAL = ("memcpy", "memmove", "memset")
"""The only undefined symbols: what LLVM may call by itself."""
_STUB = 16
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")
_NOBITS, _SYMTAB, _RELA_TYPE, _REL_TYPE = 8, 2, 4, 9
_REFUSED_TYPES = {14: "constructors", 15: "destructors", 16: "preinit functions"}
_WRITE, _ALLOC, _EXEC, _TLS = 1, 2, 4, 0x400
_R64, _PC32, _PLT32, _GOTPCREL, _R32, _R32S, _PC64, _GOTPCRELX, _REX_GOTPCRELX = 1, 2, 4, 9, 10, 11, 24, 41, 42


@dataclass(frozen=True)
class _Section:
    """One section header."""

    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int

    @property
    def loaded(self) -> bool:
        """Whether it takes memory at run time."""
        return bool(self.flags & _ALLOC)

    @property
    def group(self) -> int:
        """0 code, 1 read-only, 2 writable."""
        if self.flags & _EXEC:
            return 0
        return 2 if self.flags & _WRITE else 1


@dataclass(frozen=True)
class _Symbol:
    """One symbol table entry."""

    name: str
    section: int
    value: int
    kind: int
    size: int


class _Object:
    """Bounds-checked reading of the file."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where = data, where
        header = self._unpack(_HEADER, 0)
        ident, kind, machine = header[:3]
        if ident[:4] != b"\x7fELF":
            raise self.error("is not an ELF object")
        if ident[4:6] != b"\x02\x01" or kind != 1 or machine != 62:
            raise self.error("is not a relocatable object for x86-64")
        table, entry, count = header[6], header[11], header[12]
        if entry != _SECTION.size:
            raise self.error("has section headers of an unknown size")
        self.sections = [self._section(table + index * entry) for index in range(count)]
        self._refuse_startup_code(table, entry, header[13])
        self._tables: dict[int, list[_Symbol]] = {}

    def error(self, what: str) -> PlanError:
        """The code is damaged or not ours."""
        return PlanError(f"the native code {what}", where=self.where, hint="compile the plan again")

    def _unpack(self, layout: struct.Struct, offset: int) -> tuple:
        if not 0 <= offset <= len(self.data) - layout.size:
            raise self.error("is truncated")
        return layout.unpack_from(self.data, offset)

    def _section(self, at: int) -> _Section:
        _, kind, flags, _, offset, size, link, info, align, _ = self._unpack(_SECTION, at)
        section = _Section(kind, flags, offset, size, link, info, max(align, 1))
        if kind != _NOBITS and kind != 0 and (offset > len(self.data) or size > len(self.data) - offset):
            raise self.error("is truncated: a section lies outside of the file")
        if not section.loaded:
            return section
        if kind in _REFUSED_TYPES or flags & _TLS:
            raise self.error(f"has {_REFUSED_TYPES.get(kind, 'thread-local data')}: kernels have none")
        if section.align & (section.align - 1) or section.align > PAGE or size > MAX_IMAGE:
            raise self.error(f"has a section of {size} bytes aligned to {section.align}: too much")
        return section

    def _refuse_startup_code(self, table: int, entry: int, strings: int) -> None:
        """Constructors may stand in sections of ordinary type: those go by their names."""
        if strings >= len(self.sections):
            raise self.error("has no section names")
        names = self.contents(self.sections[strings])
        for index, section in enumerate(self.sections):
            (start,) = struct.unpack_from("<I", self.data, table + index * entry)
            if section.loaded and names[start:].startswith((b".ctors", b".dtors", b".init", b".fini")):
                raise self.error("has constructors or destructors: kernels have none")

    def contents(self, section: _Section) -> bytes:
        """The bytes of a section, zeros for .bss."""
        return b"" if section.kind == _NOBITS else self.data[section.offset : section.offset + section.size]

    def symbols(self, index: int) -> list[_Symbol]:
        """The symbol table in section `index`."""
        if index not in self._tables:
            if not 0 <= index < len(self.sections) or self.sections[index].kind != _SYMTAB:
                raise self.error("refers to a symbol table that is not there")
            self._tables[index] = list(self._read_symbols(self.sections[index]))
        return self._tables[index]

    def _read_symbols(self, table: _Section) -> Iterator[_Symbol]:
        if not 0 <= table.link < len(self.sections):
            raise self.error("has symbols without names")
        names = self.contents(self.sections[table.link])
        for index in range(table.size // _SYMBOL.size):
            start, info, _, section, value, size = self._unpack(_SYMBOL, table.offset + index * _SYMBOL.size)
            end = names.find(b"\0", start) if start < len(names) else -1
            if end < 0:
                raise self.error("has a symbol whose name is not there")
            yield _Symbol(names[start:end].decode("ascii", "replace"), section, value, info & 15, size)

    def relocations(self) -> Iterator[tuple[int, int, int, _Symbol, int]]:
        """(target section, offset, type, symbol, addend) for every relocation of a loaded section."""
        for section in self.sections:
            if section.kind not in (_RELA_TYPE, _REL_TYPE) or section.loaded:
                continue
            if not 0 <= section.info < len(self.sections):
                raise self.error("relocates a section that is not there")
            if not self.sections[section.info].loaded:
                continue
            if section.kind == _REL_TYPE:
                raise self.error("has relocations without addends")
            symbols = self.symbols(section.link)
            for index in range(section.size // _RELA.size):
                offset, info, addend = self._unpack(_RELA, section.offset + index * _RELA.size)
                if info >> 32 >= len(symbols):
                    raise self.error("relocates against a symbol that is not there")
                yield section.info, offset, info & 0xFFFFFFFF, symbols[info >> 32], addend


class Image:
    """A loaded object: `address("name")` of its symbols. The memory lives as long as this value."""

    def __init__(self, data: bytes, where: str = "native code") -> None:
        self._object = _Object(data, where)
        self._plan_layout()
        self._memory = mmap.mmap(-1, max(self._bounds[3], PAGE))
        self._anchor = ctypes.c_char.from_buffer(self._memory)
        self.base = ctypes.addressof(self._anchor)
        for index, place in self._places.items():
            contents = self._object.contents(self._object.sections[index])
            self._memory[place : place + len(contents)] = contents
        self._write_stubs()
        self._relocate()
        self._protect()
        self._symbols = dict(self._exported())

    def address(self, name: str) -> int:
        """Where the symbol `name` lies; PlanError when the object does not define it."""
        if name not in self._symbols:
            raise self._object.error(f"does not define {name}")
        return self._symbols[name][0]

    def extent(self, name: str) -> int:
        """How many bytes the symbol `name` has."""
        return self._symbols[name][1] if name in self._symbols else 0

    def __contains__(self, name: str) -> bool:
        return name in self._symbols

    @property
    def size(self) -> int:
        """Bytes mapped."""
        return self._bounds[3]

    def _plan_layout(self) -> None:
        """Offsets of sections, stubs and GOT; `_bounds` are the page boundaries of the three groups."""
        sections = self._object.sections
        self._places: dict[int, int] = {}
        self._got: dict[tuple[int, int, str], int] = {}
        slots = {_got_key(s) for _, _, kind, s, _ in self._object.relocations() if kind in _GOT_KINDS}
        end, bounds = 0, [0]
        for group in range(3):
            if group == 0:
                end = _STUB * len(EXTERNAL)
            if group == 1:
                for key in sorted(slots):
                    self._got[key] = end
                    end += 8
            for index, section in enumerate(sections):
                if not section.loaded or section.group != group:
                    continue
                end = -(-end // section.align) * section.align
                self._places[index] = end
                end += section.size
                if end > MAX_IMAGE:
                    raise self._object.error(f"takes more than {MAX_IMAGE} bytes")
            end = -(-end // PAGE) * PAGE
            bounds.append(end)
        self._bounds = bounds

    def _write_stubs(self) -> None:
        """`movabs rax, address; jmp rax` for each function that the object may call."""
        library = ctypes.CDLL(None)
        self._external: dict[str, int] = {}
        for index, name in enumerate(EXTERNAL):
            target = ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
            self._memory[index * _STUB : index * _STUB + 12] = b"\x48\xb8" + struct.pack("<Q", target) + b"\xff\xe0"
            self._external[name] = self.base + index * _STUB

    def _value(self, symbol: _Symbol) -> int:
        """The run-time address of a symbol."""
        if symbol.kind in (6, 10):
            raise self._object.error(f"uses {symbol.name}, which is thread-local or resolved at run time")
        if symbol.section == 0:
            if symbol.name not in self._external:
                raise self._object.error(f"needs {symbol.name or 'an unnamed symbol'}, which it does not define")
            return self._external[symbol.name]
        if symbol.section not in self._places:
            raise self._object.error(f"refers to {symbol.name or 'a symbol'} in a section that is not loaded")
        if symbol.value > self._object.sections[symbol.section].size:
            raise self._object.error(f"has {symbol.name or 'a symbol'} outside of its section")
        return self.base + self._places[symbol.section] + symbol.value

    def _relocate(self) -> None:
        for section, offset, kind, symbol, addend in self._object.relocations():
            width = 8 if kind in (_R64, _PC64) else 4
            if offset + width > self._object.sections[section].size:
                raise self._object.error("relocates bytes outside of a section")
            place = self._places[section] + offset
            target = self._target(kind, symbol) + addend
            value = target - (self.base + place) if kind in _RELATIVE else target
            self._patch(place, kind, value)

    def _target(self, kind: int, symbol: _Symbol) -> int:
        if kind not in _GOT_KINDS:
            return self._value(symbol)
        slot = self._got[_got_key(symbol)]
        struct.pack_into("<Q", self._memory, slot, self._value(symbol))
        return self.base + slot

    def _patch(self, place: int, kind: int, value: int) -> None:
        layout = _PATCHES.get(kind)
        if layout is None:
            raise self._object.error(f"has a relocation of type {kind}, which is not supported")
        try:
            struct.pack_into(layout, self._memory, place, value)
        except struct.error:
            raise self._object.error("does not reach what it refers to: it was not compiled as PIC") from None

    def _protect(self) -> None:
        """Code becomes read-execute, constants read-only."""
        library = ctypes.CDLL(None, use_errno=True)
        read, execute = mmap.PROT_READ, mmap.PROT_EXEC
        for group, rights in ((0, read | execute), (1, read)):
            begin, end = self._bounds[group], self._bounds[group + 1]
            if begin == end:
                continue
            start, length = ctypes.c_void_p(self.base + begin), ctypes.c_size_t(end - begin)
            if library.mprotect(start, length, ctypes.c_int(rights)) != 0:
                raise PlanError(
                    f"the system refuses executable memory (errno {ctypes.get_errno()})", where="native code"
                )

    def _exported(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for index, section in enumerate(self._object.sections):
            if section.kind != _SYMTAB:
                continue
            for symbol in self._object.symbols(index):
                if symbol.name and symbol.section in self._places and symbol.kind in (0, 1, 2):
                    room = self._object.sections[symbol.section].size - symbol.value
                    yield symbol.name, (self._value(symbol), min(symbol.size, room))


_RELATIVE = (_PC32, _PLT32, _PC64, _GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX)
_GOT_KINDS = (_GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX)
_PATCHES = {
    _R64: "<Q",
    _PC64: "<q",
    _R32: "<I",
    _R32S: "<i",
    _PC32: "<i",
    _PLT32: "<i",
    _GOTPCREL: "<i",
    _GOTPCRELX: "<i",
    _REX_GOTPCRELX: "<i",
}


def _got_key(symbol: _Symbol) -> tuple[int, int, str]:
    return symbol.section, symbol.value, symbol.name
