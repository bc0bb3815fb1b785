"""PTX and its assembler: reports read, notes refused, features of the code (not its text), and what happens without an assembler."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdsl.dialects import llvm
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.codegen import ptx
from stepwell.codegen.llvm_text import translate
from stepwell.driver.driver import passes_of
from stepwell.driver.modules import make_context
from stepwell.testing import gpu_kernels
from stepwell.testing.gpu_contractions import Ending, Schedule, gemm
from stepwell.transforms.pipelines import KERNEL, LLVM, PLAN
from stepwell.types.targets import SM_90A

LOWERING = ",".join([*PLAN["sm_90a"], *KERNEL["sm_90a"], *LLVM["sm_90a"]])
MOST_OPS = 450
"""llvm-level ops of a kernel, constants and addresses of globals apart: compile time grows with them."""


@cache
def lowered(name: str) -> tuple[ModuleOp, str]:
    """The llvm-level module of a case and its LLVM text."""
    case = next(c for c in [*gpu_kernels.small_cases(), *wide_cases()] if c.name == name)
    ctx = make_context(case.weights)
    module = Parser(ctx, case.text).parse_module()
    for step in passes_of(LOWERING):
        step.apply(ctx, module)
    module.verify()
    return module, translate(module, SM_90A)


@cache
def wide_cases() -> list[Any]:
    """Large tiles with a long epilogue: where registers run out first."""
    return [
        gemm(f"gelu_{rows}x{columns}", rows, columns, 64, "f16", Schedule((rows, columns), 3), Ending("gelu"))
        for rows, columns in ((128, 128), (128, 192), (128, 256), (64, 256))
    ]


@cache
def compiled(name: str) -> ptx.PtxModule:
    return ptx.compile_module(lowered(name)[1])


needs_ptxas = pytest.mark.skipif(ptx.find_assembler() is None, reason="no ptxas: pip install nvidia-cuda-nvcc")


def op_count(module: ModuleOp) -> int:
    """The most ops of one function, without constants and addresses."""
    quiet = (llvm.ConstantOp, llvm.AddressOfOp)
    functions = [op for op in module.ops if isinstance(op, llvm.FuncOp)]
    return max(sum(not isinstance(op, quiet) for op in f.walk()) - 1 for f in functions)


# name, wgmma, TMA loads, most registers (of 16-byte and smaller accesses nothing is in local memory)
CONTRACTIONS = [
    ("gemm_f16", "m64n64k16.f32.f16.f16", 4, 80),
    ("gemm_tf32", "m64n40k8.f32.tf32.tf32", 4, 80),
    ("gemm_n10", "m64n16k8.f32.tf32.tf32", 4, 80),
    ("gemm_wide", "m64n256k16.f32.f16.f16", 4, 168),
    ("gemm_swizzle32", "m64n8k16.f32.f16.f16", 1, 80),
    ("conv_f16", "m64n64k16.f32.f16.f16", 4, 80),
    ("conv_residual", "m64n64k8.f32.tf32.tf32", 4, 104),
    ("conv_gelu", "m64n32k16.f32.f16.f16", 4, 128),
]


@needs_ptxas
@pytest.mark.parametrize(("name", "shape", "products", "registers"), CONTRACTIONS)
def test_contraction_kernels(name: str, shape: str, products: int, registers: int) -> None:
    code = compiled(name)
    assert code.cubin is not None and code.ptx.count(f"wgmma.mma_async.sync.aligned.{shape}") == products
    assert len(re.findall(r"cp\.async\.bulk\.tensor\.4d\S*\.im2col", code.ptx)) == (name.startswith("conv"))
    tiled = len(re.findall(r"cp\.async\.bulk\.tensor\.3d", code.ptx))
    assert tiled == (2 if name.startswith("conv") else 3), "B ahead of the predecessor, B, and A where it is no window"
    assert "wgmma.wait_group.sync.aligned 1" in code.ptx and "wgmma.wait_group.sync.aligned 0" in code.ptx
    assert code.ptx.count("griddepcontrol.wait") == 2 and code.ptx.count("griddepcontrol.launch_dependents") == 1
    assert ("setmaxnreg" in code.ptx) == (name == "gemm_wide")
    (report,) = code.kernels
    assert report.registers <= registers and report.spill_stores == report.stack == 0
    assert op_count(lowered(name)[0]) <= MOST_OPS


@needs_ptxas
@pytest.mark.parametrize("name", ["stem", "stem_rgb_f16", "pool", "pool_f16", "pool_odd", "elementwise_f16_n10"])
def test_kernels_without_products(name: str) -> None:
    code = compiled(name)
    assert code.cubin is not None and "wgmma" not in code.ptx and "cp.async" not in code.ptx
    assert code.ptx.count("griddepcontrol.wait") == 1
    (report,) = code.kernels
    assert report.registers <= 64 and report.spill_stores == report.stack == 0
    assert op_count(lowered(name)[0]) <= MOST_OPS


@needs_ptxas
def test_pools_read_sixteen_bytes_at_once() -> None:
    assert len(re.findall(r"ld\.global\.v4\.f32", compiled("pool").ptx)) == 4
    assert len(re.findall(r"ld\.global\.v4\.b32", compiled("pool_f16").ptx)) == 2


@needs_ptxas
@pytest.mark.slow
@pytest.mark.parametrize("name", [f"gelu_{shape}" for shape in ("128x128", "128x192", "128x256", "64x256")])
def test_long_epilogues_of_large_tiles_do_not_spill(name: str) -> None:
    (report,) = compiled(name).kernels
    assert report.spill_stores == report.stack == 0
    assert op_count(lowered(name)[0]) <= MOST_OPS


def test_arithmetic_is_not_contracted() -> None:
    """mul and add keep their own roundings (.rn is never fused by ptxas); fma only where the IR says so."""
    text = ptx.emit_ptx(lowered("stem")[1])
    assert "mul.rn.f32" in text and "add.rn.f32" in text
    assert not re.search(r"\b(?:mul|add|fma)\.f32|fma\.rn\.f32|\.ftz|approx", text)


def test_divisions_are_rounded_correctly() -> None:
    assert "div.rn.f32" in ptx.emit_ptx(lowered("conv_gelu")[1])


def test_code_without_assembler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptx, "find_assembler", lambda: None)
    code = ptx.compile_module(lowered("elementwise")[1])
    assert code.cubin is None and code.kernels == () and ".visible .entry kernel" in code.ptx
    assert "no ptxas was found" in code.summary()


def test_assembler_by_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "ptxas"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("STEPWELL_PTXAS", str(fake))
    assert ptx.find_assembler() == fake


LOG = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_90a'
ptxas info    : Function properties for one
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 68 registers, used 1 barriers
ptxas info    : Compiling entry function 'two' for 'sm_90a'
ptxas info    : Function properties for two
    16 bytes stack frame, 24 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 128 bytes smem
"""


def test_reports_are_read() -> None:
    one, two = ptx.parse_report(LOG)
    assert one == ptx.KernelReport("one", 68)
    assert two == ptx.KernelReport("two", 255, 16, 24, 8, 128)
    with pytest.raises(ptx.PtxError, match="@two: 16 bytes of stack, 24 of spill stores with 255 registers"):
        ptx.check_report(LOG, (one, two))


@pytest.mark.parametrize("note", ["(C7510) Potential Performance Loss: wgmma", "C7508: setmaxnreg ignored"])
def test_slow_code_is_refused(note: str) -> None:
    with pytest.raises(ptx.PtxError, match="ptxas made the code slow"):
        ptx.check_report(f"ptxas info    : {note}", ())


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda text: text.replace("define", "defin", 1), "LLVM refuses the module"),
        (lambda text: text.replace("griddepcontrol.wait", "griddepcontrol.weit"), ""),
    ],
)
def test_broken_code_is_an_error(break_it: Callable[[str], str], message: str) -> None:
    text = break_it(lowered("elementwise")[1])
    if message:
        with pytest.raises(ptx.PtxError, match=message):
            ptx.emit_ptx(text)
        return
    assembler = ptx.find_assembler()
    if assembler is None:
        pytest.skip("no ptxas")
    with pytest.raises(ptx.PtxError, match="ptxas refuses the code"):
        ptx.assemble(ptx.emit_ptx(text), assembler)


def test_local_memory_is_refused() -> None:
    with pytest.raises(Exception, match="local memory"):
        ptx._check_local("  ld.local.f32 %f1, [%r1];")
