"""What `-t` prints beside MLIR: upstream linalg, LLVM text, PTX and x86 assembly of a module that is at the level for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.target import Target

from stepwell.passes.levels import level_of
from stepwell.passes.target import target_of
from stepwell.runtime.errors import UsageError


def _need(module: ModuleOp, level: str, family: str, target: str) -> None:
    """A UsageError unless the module is at `level` and for `family`."""
    if level_of(module) != level:
        raise UsageError(
            f"the module is at level '{level_of(module)}', not '{level}'",
            where=f"-t {target}",
            hint=f"lower it: --to {level}",
        )
    found = target_of(module)
    if family and (found is None or found.family != family):
        raise UsageError(
            f"the module is for {found.name if found else 'no target'}, not {family}", where=f"-t {target}"
        )


@dataclass(frozen=True)
class LinalgExportTarget(Target):
    """One function per fusion, in upstream dialects only: what `mlir-opt` reads."""

    name = "stepwell-linalg-export"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        _need(module, "linalg", "", self.name)
        from stepwell.transforms.linalg._export import export_linalg

        output.write(export_linalg(module))


@dataclass(frozen=True)
class LLVMTextTarget(Target):
    """LLVM IR text of the kernels."""

    name = "stepwell-llvm"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        _need(module, "llvm", "", self.name)
        from stepwell.codegen.llvm_text import translate

        target = target_of(module)
        if target is None:
            raise UsageError("the module names no target", where=f"-t {self.name}", hint="say --arch")
        output.write(translate(module, target))


@dataclass(frozen=True)
class PTXTarget(Target):
    """PTX of the kernels."""

    name = "stepwell-ptx"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        _need(module, "llvm", "sm_90a", self.name)
        from stepwell.codegen.llvm_text import translate
        from stepwell.codegen.ptx import emit_ptx

        target = target_of(module)
        assert target is not None
        output.write(emit_ptx(translate(module, target), target))


@dataclass(frozen=True)
class AssemblyTarget(Target):
    """x86 assembly of the kernels."""

    name = "stepwell-asm"

    def emit(self, ctx: Context, module: ModuleOp, output: IO[str]) -> None:
        _need(module, "llvm", "cpu", self.name)
        from stepwell.codegen.objects import compile_assembly, cpu_text

        target = target_of(module)
        assert target is not None
        output.write(compile_assembly(cpu_text(module, target), target))
