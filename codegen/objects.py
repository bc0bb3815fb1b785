"""From the llvm level to a CPU object: a position-independent ELF file without undefined symbols but memcpy, memset and memmove, so that a
small loader can map it. The same text gives the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm_binding
from xdsl.dialects import llvm
from xdsl.dialects.builtin import ModuleOp, StringAttr

from stepwell.codegen.cpu_runtime import EXPORTS, runtime_text
from stepwell.codegen.llvm_memory import check_llvm_memory
from stepwell.codegen.llvm_text import translate
from stepwell.runtime.errors import InternalError, UsageError
from stepwell.types.targets import CPU_LEVELS, Target

LIBRARY_SYMBOLS = ("memcpy", "memset", "memmove")
"""What the loader provides."""

RELOCATIONS = {1: "R_X86_64_64", 2: "R_X86_64_PC32", 4: "R_X86_64_PLT32"}
"""What the loader applies (x86-64 psABI, table 4.9)."""


@dataclass(frozen=True)
class CPUObject:
    """A compiled module: ELF bytes, the CPU level that it needs, and its kernels in the order of their numbers."""

    data: bytes
    level: str
    kernels: tuple[str, ...]


def kernel_names(module: ModuleOp) -> tuple[str, ...]:
    """The CPU kernels of a module in order: a launch record says the position in this list."""
    ops = [op for op in module.body.block.ops if "stepwell.kernel" in op.attributes]
    return tuple(op.properties["sym_name"].data for op in ops)


def cpu_text(module: ModuleOp, target: Target, kernels: Sequence[str] | None = None) -> str:
    """LLVM text of an llvm-level module, with the runtime and the table of `kernels` (default: all, in order)."""
    names = kernel_names(module) if kernels is None else tuple(kernels)
    defined = [op.sym_name.data for op in module.body.block.ops if isinstance(op, llvm.FuncOp)]
    if clash := sorted(set(EXPORTS) & set(defined)):
        raise InternalError(f"functions of the module take the runtime's names: {', '.join(clash)}")
    return translate(module, target) + runtime_text(names)


def compile_module(
    module: ModuleOp, target: Target, kernels: Sequence[str] | None = None, optimize: int = 3
) -> CPUObject:
    """The object of an llvm-level module for a CPU level; `kernels` as for `cpu_text`."""
    data = compile_object(cpu_text(module, target, kernels), target, optimize)
    return CPUObject(data, target.processor, kernel_names(module) if kernels is None else tuple(kernels))


def compile_object(text: str, target: Target, optimize: int = 3) -> bytes:
    """LLVM text -> ELF bytes, checked: what the loader could not resolve is an error that lists it."""
    machine, module = _optimized(text, target, optimize)
    data: bytes = machine.emit_object(module)
    check_object(data)
    return data


def compile_assembly(text: str, target: Target, optimize: int = 3) -> str:
    """LLVM text -> assembly, to be read."""
    machine, module = _optimized(text, target, optimize)
    assembly: str = machine.emit_assembly(module)
    return assembly


def assembly_of(module: ModuleOp) -> str:
    """The assembly of an llvm-level module for the CPU level that it states in `stepwell.cpu`, to be read."""
    level = module.attributes.get("stepwell.cpu")
    if not isinstance(level, StringAttr) or level.data not in CPU_LEVELS:
        raise UsageError("the module states no CPU level", hint=f"stepwell.cpu = {' | '.join(CPU_LEVELS)}")
    target = CPU_LEVELS[level.data]
    return compile_assembly(cpu_text(module, target), target)


def _optimized(text: str, target: Target, optimize: int) -> tuple[llvm_binding.TargetMachine, llvm_binding.ModuleRef]:
    check_llvm_memory(text)
    llvm_binding.initialize_all_targets()
    llvm_binding.initialize_all_asmprinters()
    llvm_binding.initialize_native_asmparser()  # inline assembly in object code
    try:
        module = llvm_binding.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise InternalError(
            f"LLVM refuses the module: {str(error).strip()}", hint="the text comes from stepwell.codegen.llvm_text"
        ) from error
    family = llvm_binding.Target.from_triple(target.triple)
    machine = family.create_target_machine(cpu=target.processor, opt=optimize, reloc="pic", codemodel="small")
    options = llvm_binding.create_pipeline_tuning_options(speed_level=optimize)
    builder = llvm_binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine, module


# --- ELF (System V ABI, chapter 4)


@dataclass(frozen=True)
class _Section:
    kind: int
    offset: int
    size: int
    link: int
    info: int
    flags: int


def _sections(data: bytes) -> list[_Section]:
    if data[:6] != b"\x7fELF\x02\x01":
        raise InternalError("LLVM made no 64-bit little-endian ELF object")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    entry_size, count = struct.unpack_from("<HH", data, 0x3A)
    made = []
    for i in range(count):
        _, kind, flags, _, offset, size, link, info, _, _ = struct.unpack_from(
            "<IIQQQQIIQQ", data, table + i * entry_size
        )
        made.append(_Section(kind, offset, size, link, info, flags))
    return made


def _symbols(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, section and binding of each symbol."""
    sections = _sections(data)
    for section in sections:
        if section.kind != 2:  # SHT_SYMTAB
            continue
        names = sections[section.link].offset
        for at in range(section.offset + 24, section.offset + section.size, 24):  # the first symbol is null
            name, info, _, index = struct.unpack_from("<IBBH", data, at)
            end = data.index(b"\0", names + name)
            yield data[names + name : end].decode(), index, info >> 4


def undefined_symbols(data: bytes) -> list[str]:
    """Names that an object takes from elsewhere, sorted."""
    return sorted({name for name, section, _ in _symbols(data) if section == 0 and name})


def exported_symbols(data: bytes) -> list[str]:
    """Names that an object defines for others, sorted."""
    return sorted(name for name, section, binding in _symbols(data) if section and binding == 1)


def relocation_kinds(data: bytes) -> set[int]:
    """The relocation types of the sections that are loaded."""
    sections = _sections(data)
    kinds = set()
    for section in sections:
        if section.kind == 4 and sections[section.info].flags & 2:  # SHT_RELA of an allocated section
            for at in range(section.offset, section.offset + section.size, 24):
                kinds.add(struct.unpack_from("<Q", data, at + 8)[0] & 0xFFFFFFFF)
    return kinds


def check_object(data: bytes) -> None:
    """Raise for undefined symbols and relocations that the loader does not know."""
    if foreign := [name for name in undefined_symbols(data) if name not in LIBRARY_SYMBOLS]:
        raise InternalError(
            f"the object needs symbols that nobody provides: {', '.join(foreign)}",
            hint="an op was left that LLVM makes a library call of: expand it (tile-expand-math)",
        )
    if unknown := sorted(relocation_kinds(data) - set(RELOCATIONS)):
        raise InternalError(
            f"the object has relocations of type {', '.join(map(str, unknown))}, which the loader does not apply"
        )
