"""LLVM text -> PTX (llvmlite) -> cubin (ptxas, where one is found), with a report of what the assembler said.

LLVM's O0 pipeline with code generation at O1 gives these kernels the same machine code as O3 in a fraction of the time: ptxas does the work.
Any note of the C75xx family (wgmma serialised, setmaxnreg ignored), any spill and any local memory is a failed build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from stepwell.codegen.llvm_memory import check_llvm_memory
from stepwell.runtime.errors import InternalError, StepwellError
from stepwell.types.targets import SM_90A, Target


class PtxError(StepwellError):
    """LLVM or the assembler refuses the code of a kernel, or makes it slow in a way that we treat as failure (exit 70: our fault)."""

    exit_code = 70


@dataclass(frozen=True)
class KernelReport:
    """What ptxas says of one kernel: registers per thread, bytes of stack, spill stores and loads, barriers, static shared memory."""

    name: str
    registers: int
    stack: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    shared: int = 0


@dataclass(frozen=True)
class PtxModule:
    """The code of one module. `cubin` is None where no assembler was found (`assembler` is empty then): the driver compiles the PTX at load."""

    ptx: str
    cubin: bytes | None = None
    assembler: str = ""
    kernels: tuple[KernelReport, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def summary(self) -> str:
        """One line for remarks and logs."""
        if self.cubin is None:
            return f"PTX of {len(self.ptx)} bytes; no ptxas was found, the driver assembles it when it is loaded"
        listed = ", ".join(f"@{k.name} {k.registers} registers" for k in self.kernels)
        return f"{self.assembler}: {len(self.cubin)} bytes of cubin; {listed}"


@lru_cache(maxsize=1)
def _initialise() -> None:
    """LLVM's targets, and 32-bit shared pointers: the option is global to the process."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.set_option("", "--nvptx-short-ptr")


def emit_ptx(text: str, target: Target = SM_90A, *, optimise: int = 1) -> str:
    """PTX of an LLVM module. Raises PtxError with LLVM's message."""
    import llvmlite.binding as llvm

    check_llvm_memory(text)
    _initialise()
    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise PtxError(f"LLVM refuses the module: {str(error).strip()[:400]}") from error
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.processor, features=target.features, opt=optimise
    )
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=0))
    builder.getModulePassManager().run(module, builder)
    return str(machine.emit_assembly(module))


def find_assembler() -> Path | None:
    """ptxas: $STEPWELL_PTXAS, NVIDIA's wheels, $CUDA_HOME/bin, the PATH, /usr/local/cuda/bin; None when there is none."""
    candidates = [Path(os.environ["STEPWELL_PTXAS"])] if os.environ.get("STEPWELL_PTXAS") else []
    for package in ("nvidia.cu13", "nvidia.cuda_nvcc"):
        candidates += [folder / "bin" / "ptxas" for folder in _package_folders(package)]
    candidates += [
        Path(os.environ[name]) / "bin" / "ptxas" for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)
    ]
    if found := shutil.which("ptxas"):
        candidates.append(Path(found))
    candidates.append(Path("/usr/local/cuda/bin/ptxas"))
    return next((path for path in candidates if path.is_file() and os.access(path, os.X_OK)), None)


def _package_folders(name: str) -> list[Path]:
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        return []
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec is not None else []


def assemble(ptx: str, assembler: Path, target: Target = SM_90A) -> tuple[bytes, tuple[KernelReport, ...]]:
    """The cubin and what ptxas reports; PtxError for its errors and for code that it had to make slow."""
    with tempfile.TemporaryDirectory(prefix="stepwell-ptx-") as folder:
        source, output = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        command = [str(assembler), "-v", f"-arch={target.processor}", "-O3", str(source), "-o", str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        log = done.stdout + done.stderr
        if done.returncode:
            raise PtxError(f"ptxas refuses the code: {_first_errors(log)}")
        reports = parse_report(log)
        check_report(log, reports)
        return output.read_bytes(), reports


def _first_errors(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if "error" in line or "fatal" in line]
    return "; ".join(lines[:4]) or log.strip()[:400]


_ENTRY = re.compile(r"Compiling entry function '(\S+)'")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


def parse_report(log: str) -> tuple[KernelReport, ...]:
    """The figures of `ptxas -v` per kernel, in order."""
    reports, name, frame = [], "", (0, 0, 0)
    for line in log.splitlines():
        if found := _ENTRY.search(line):
            name, frame = found[1], (0, 0, 0)
        elif found := _SPILLS.search(line):
            frame = (int(found[1]), int(found[2]), int(found[3]))
        elif found := _USED.search(line):
            shared = _SHARED.search(line)
            reports.append(KernelReport(name, int(found[1]), *frame, int(shared[1]) if shared else 0))
    return tuple(reports)


def check_report(log: str, reports: tuple[KernelReport, ...]) -> None:
    """Refuse serialised wgmma and ignored register budgets (C75xx), spills and stack frames."""
    notes = [line.strip() for line in log.splitlines() if re.search(r"\bC75\d\d\b", line)]
    if notes:
        raise PtxError(f"ptxas made the code slow: {notes[0]}", hint="this is a bug of the kernel lowering")
    for report in reports:
        if report.stack or report.spill_stores or report.spill_loads:
            figures = f"{report.stack} bytes of stack, {report.spill_stores} of spill stores"
            raise PtxError(
                f"{figures} with {report.registers} registers", where=f"@{report.name}", hint="choose a smaller block"
            )


def compile_module(text: str, target: Target = SM_90A, *, assembler: Path | None = None) -> PtxModule:
    """PTX, and a cubin where an assembler is found (or given)."""
    started = time.perf_counter()
    ptx = emit_ptx(text, target)
    emitted = time.perf_counter()
    _check_local(ptx)
    found = assembler or find_assembler()
    if found is None:
        return PtxModule(ptx, seconds={"llvm": emitted - started})
    cubin, reports = assemble(ptx, found, target)
    seconds = {"llvm": emitted - started, "ptxas": time.perf_counter() - emitted}
    return PtxModule(ptx, cubin, _version(found), reports, seconds)


def _check_local(ptx: str) -> None:
    if found := re.search(r"\b(?:ld|st)\.local\S*", ptx):
        raise InternalError(f"the PTX uses local memory ({found[0]}): a vector was indexed by a run-time value")


@lru_cache(maxsize=4)
def _version(assembler: Path) -> str:
    text = subprocess.run([str(assembler), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"release ([\d.]+)", text)
    return f"ptxas {found[1]}" if found else "ptxas"
