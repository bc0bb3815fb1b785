"""#tile.config: what it prints, what it is judged by, and the registers and shared memory that tiles are counted to take."""

from dataclasses import replace

import pytest
from xdsl.parser import Parser

from stepwell.dialects.tile import Config, ConfigAttr, KernelOp
from stepwell.dialects.tile.config import Facts, violations
from stepwell.dialects.tile.registers import facts_of
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context

GEMM = Config((128, 64), k=64, stages=4, warps=12, copy="tma", mma="wgmma", swizzle=128)
STAGE = (128 + 64) * 128


def test_prints_what_is_not_default() -> None:
    assert str(ConfigAttr(Config((6, 64), mma="fma"))) == "#tile.config<block = [6, 64], mma = fma>"
    assert (
        str(ConfigAttr(Config((4,), order="columns", epilogue="direct")))
        == "#tile.config<block = [4], order = columns>"
    )


def test_keys_come_in_any_order() -> None:
    text = "#tile.config<swizzle = 128, mma = wgmma, copy = tma, warps = 12, block = [128, 64], stages = 4, k = 64>"
    assert Parser(make_context(), text).parse_attribute() == ConfigAttr(GEMM)


@pytest.mark.parametrize("target", ["sm_90a", None])
def test_legal(target: str | None) -> None:
    assert not list(violations(GEMM, target, Facts(2, STAGE, 150)))


def test_every_reason_is_given() -> None:
    config = Config((100, 12), k=8, stages=1, warps=12, mma="wgmma", swizzle=128)
    reasons = "\n".join(violations(config, "sm_90a", Facts(4, 1000, 300)))
    for part in ("100 rows", "12 columns", "copy = direct", "stages = 1", "k = 8 is 32 bytes", "take 300 registers"):
        assert part in reasons


@pytest.mark.parametrize(
    ("config", "target", "part"),
    [
        (Config((-1, 8)), None, "needs one positive extent"),
        (Config((0, 0)), None, "and one that is cut"),
        (Config((0, 8), mma="fma"), None, "are of tiles without a matrix product"),
        (Config((8, 8), k=0), None, "k = 0 must be at least 1"),
        (Config((64, 32), warps=64), "sm_90a", "at most 1024 threads"),
        (Config((64, 32), warps=4, copy="tma"), "sm_90a", "copy = direct on sm_90a"),
        (Config((64, 32), warps=4, stages=3), "sm_90a", "describe the ring of a wgmma kernel"),
        (Config((2, 6, 64), mma="fma"), "x86-64-v4", "only the last two dims are blocked"),
        (Config((8, 8), form="loops"), None, "a block of one extent"),
        (Config((100,), form="loops"), "sm_90a", "one thread for each element"),
        (Config((4, 24)), "x86-64-v4", "24 columns are not whole vectors of 16 floats"),
    ],
)
def test_illegal(config: Config, target: str | None, part: str) -> None:
    assert any(part in reason for reason in violations(config, target))


def test_operands_decide_how_wgmma_multiplies() -> None:
    """One instruction for all element types: what it multiplies is said by the operands alone."""
    reasons = list(violations(GEMM, "sm_90a", Facts(2, STAGE, 150, "f64")))
    assert reasons == ["wgmma does not multiply f64: it takes f16, bf16, f32, f8E4M3FN, f8E5M2, i8, ui8"]
    assert not list(violations(GEMM, "sm_90a", Facts(2, STAGE, 150, "bf16")))


KERNEL = """
tile.kernel @k(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>, %r: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [128, 64], k = 64, stages = 4, warps = 12, copy = tma, mma = wgmma, swizzle = 128> {
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [128, 64] {
    %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs>
    %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<128x64xf32, regs> {
      %p = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<128x64xf16, ring>
      %q = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x64xf16, ring>
      %d = tile.mma %p, %q, %c
      tile.yield %d
    }
    %rr = tile.load %r[%i, %j] : !tile.tile<128x64xf32, regs>
    %o = tile.map (%u = %acc, %v = %rr) {
      %1 = arith.addf %u, %v : f32
      %2 = arith.truncf %1 : f32 to f16
      tile.yield %2
    } : !tile.tile<128x64xf16, regs>
    tile.store %o, %y[%i, %j]
  }
}
"""


def test_counts_registers_and_stages() -> None:
    kernel = next(op for op in parse_text(make_context(), KERNEL, SourceMap("test")).walk() if isinstance(op, KernelOp))
    # 128x64 f32 over 256 threads: 32 registers for the accumulator (one set of registers through the loop), 32 for the residual
    assert facts_of(kernel, "sm_90a") == Facts(2, STAGE, 64, "f16", ("f16", "f32"))
    # AVX-512: 128 rows of 4 vectors, one row of an operand and one element
    assert facts_of(kernel, "x86-64-v4").registers == 128 * 4 + 4 + 1


def test_only_cpus_tell_whole_blocks_and_edges_apart() -> None:
    config = replace(GEMM, edges="masked")
    assert any("told apart on CPUs only" in reason for reason in violations(config, "sm_90a", Facts(2, STAGE, 150)))
    assert not list(violations(Config((6, 64), mma="fma", edges="masked"), "x86-64-v4"))
