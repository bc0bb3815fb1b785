"""The tile dialect's verifiers: one invalid module per invariant, each with the message that the user sees."""

import pytest
from xdsl.utils.exceptions import ParseError, VerifyException

from stepwell.ir.printing import module_text
from stepwell.ir.source import SourceError, SourceMap, parse_text
from stepwell.plugins.universe import make_context

HOPPER = """
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @k(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, packed, constant>, %b: !tile.ref<1xf32, plain, constant>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [128, 64], k = 32, stages = 4, warps = 12, copy = tma_im2col, mma = wgmma, swizzle = 128> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 32] iter (%c = %z) -> !tile.tile<128x64xf32, regs> {
        %p = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<128x32xf32, ring>
        %q = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x32xf32, ring>
        %d = tile.mma %p, %q, %c
        tile.yield %d
      }
      %bias = tile.load %b[%j] : !tile.tile<64xf32, regs>
      %bb = tile.broadcast %bias dims [1] : !tile.tile<128x64xf32, regs>
      %o = tile.map (%u = %acc, %v = %bb) {
        %1 = arith.addf %u, %v : f32
        tile.yield %1
      } : !tile.tile<128x64xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  func.func @main(%x: tensor<2x8x8x64xf32>, %w: tensor<64x9x64xf32>, %b: tensor<64xf32>) -> tensor<128x64xf32> {
    %v = tile.window %x kernel [3, 3] pads [1, 1, 1, 1] : tensor<2x8x8x64xf32> -> !tile.view<128x9x64xf32>
    %y = tile.apply @k(%v, %w, %b) : (!tile.view<128x9x64xf32>, tensor<64x9x64xf32>, tensor<64xf32>) -> tensor<128x64xf32>
    func.return %y : tensor<128x64xf32>
  }
}
"""

CPU = """
builtin.module attributes {stepwell.level = "tile", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  tile.kernel @k(%x: !tile.ref<3xf32, plain>, %w: !tile.ref<3xf32, packed<64>, constant>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [6, 64], mma = fma> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [6, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<6x64xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 1] iter (%c = %z) -> !tile.tile<6x64xf32, regs> {
        %p = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<6x1xf32, in_place>
        %q = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x1xf32, packed>
        %d = tile.mma %p, %q, %c
        tile.yield %d
      }
      tile.store %acc, %y[%i, %j]
    }
  }
  func.func @main(%x: tensor<7x1x5xf32>, %w: tensor<1x1x5x64xf32>) -> tensor<7x60xf32> {
    %y = tile.apply @k(%x, %w) : (tensor<7x1x5xf32>, tensor<1x1x5x64xf32>) -> tensor<7x60xf32>
    func.return %y : tensor<7x60xf32>
  }
}
"""


def checked(text: str) -> str:
    """The module's text, after parsing and verifying it."""
    module = parse_text(make_context(), text, SourceMap("test"))
    module.verify()
    return module_text(module)


@pytest.mark.parametrize("text", [HOPPER, CPU])
def test_valid(text: str) -> None:
    printed = checked(text)
    assert checked(printed) == printed


BLOCK = "block = [128, 64], k = 32, stages = 4, warps = 12"
HOPPER_CASES = {
    "two waits": ("    tile.for_tiles", "    tile.wait_predecessor\n    tile.for_tiles", "waits exactly once"),
    "no wait": ("    tile.wait_predecessor\n", "", "it has 0 tile.wait_predecessor"),
    "reads before the wait": (
        "    tile.wait_predecessor\n",
        """    %n = arith.constant 0 : index
    %e = tile.load %x[%n, %n, %n] dims = [0, 2] : !tile.tile<4x4xf32, regs>
    tile.wait_predecessor
""",
        "before tile.wait_predecessor: only constant refs may be read there",
    ),
    "grid unlike config": ("%y block [128, 64]", "%y block [64, 64]", "tile.for_tiles has block [64, 64], the config [128, 64]"),
    "two stores": ("      tile.store %o, %y[%i, %j]\n", "      tile.store %o, %y[%i, %j]\n" * 2, "it is written by one tile.store"),
    "no store": ("      tile.store %o, %y[%i, %j]\n", "", "used by 0 ops besides the grid"),
    "store elsewhere": ("%y[%i, %j]", "%y[%j, %i]", "tile.store writes at the offsets of tile.for_tiles"),
    "store in a loop": (
        "        tile.yield %d",
        "        tile.store %d, %y[%i, %j]\n        tile.yield %d",
        "written by one tile.store",
    ),
    "operand in registers": (
        "!tile.tile<128x32xf32, ring>",
        "!tile.tile<128x32xf32, regs>",
        "mma = wgmma reads operand a from a ring tile, here it is regs",
    ),
    "operand read in place": (
        "!tile.tile<128x32xf32, ring>",
        "!tile.tile<128x32xf32, in_place>",
        "mma = wgmma reads operand a from a ring tile, here it is in_place",
    ),
    "ring tile without mma": (
        "%bias = tile.load %b[%j] : !tile.tile<64xf32, regs>",
        "%bias = tile.load %b[%j] : !tile.tile<64xf32, regs>\n      %n = tile.load %b[%j] : !tile.tile<64xf32, ring>",
        "a ring tile is loaded for something else than tile.mma",
    ),
    "panels on the GPU": ("<64x32xf32, ring>", "<64x32xf32, packed>", "packed tiles come from panels, packed<P>, and only they do"),
    "no product": ("mma = wgmma", "mma = none", "mma = none and the body has 1 tile.mma"),
    "shapes of a product": ("!tile.tile<64x32xf32, ring>", "!tile.tile<64x16xf32, ring>", "tile.mma takes a [M, K], b [N, K] and c [M, N]"),
    "shape of a map": (
        "dims [1] : !tile.tile<128x64xf32, regs>",
        "dims [1] : !tile.tile<64x64xf32, regs>",
        "operands and result are register tiles of one shape",
    ),
    "broadcast extents": ("!tile.tile<64xf32, regs>", "!tile.tile<32xf32, regs>", "are not those of"),
    "map yields": ("tile.yield %1", "tile.yield", "tile.map: the body yields one f32"),
    "loop yields": ("        tile.yield %d", "        tile.yield", "the body yields the carried tiles, with the same types"),
    "offsets": ("tile.load %b[%j] :", "tile.load %b[%i, %j] dims = [1] :", "a ref of rank 1 takes 1 offsets, here are 2"),
    "dims of a load": ("%w[%j, %t, %k] dims = [0, 2]", "%w[%j, %t, %k] dims = [0, 0]", "do not name one dim of the ref"),
    "load converts": ("!tile.tile<128x32xf32, ring>", "!tile.tile<128x32xf16, ring>", "the ref holds f32, the tile f16: convert in a tile.map"),
    "looped dims": ("dims [1, 2] step", "dims [1, 3] step", "are not distinct dims of a ref of rank 3"),
    "rank of a window": ("!tile.ref<3xf32, window>", "!tile.ref<2xf32, window>", "a window ref is [M, T, C]: its rank is 3, not 2"),
    "constant output": ("(%y: !tile.ref<2xf32, plain>)", "(%y: !tile.ref<2xf32, plain, constant>)", "outputs are plain and not constant"),
    "fill of a load": ("dims = [0, 2] : !tile.tile<128", "dims = [0, 2] fill = 0.0 : f16 : !tile.tile<128", "fill is f16, the tile holds f32"),
    # the config
    "rows": ("128", "96", "96 rows are not 64 for each of 2 consumer warpgroups"),
    "rows of a warpgroup": ("128", "256", "256 rows are not 64 for each of 2 consumer warpgroups"),
    "columns": ("64", "60", "60 columns: the N of wgmma is a multiple of 8 from 8 to 256"),
    "k bytes": (BLOCK, BLOCK.replace("k = 32", "k = 16"), "k = 16 is 64 bytes: a row of a stage is as long as the swizzle (128 bytes)"),
    "ring": (BLOCK, BLOCK.replace("stages = 4", "stages = 16"), "16 stages of 24576 bytes and 1024 beside them exceed 232448 bytes"),
    "one stage": (BLOCK, BLOCK.replace("stages = 4", "stages = 1"), "stages = 1: a ring needs at least 2"),
    "warps": (BLOCK, BLOCK.replace("warps = 12", "warps = 6"), "wgmma needs whole warpgroups of 4"),
    "copy": ("copy = tma_im2col", "copy = pointer_table", "the ring of a wgmma kernel is filled by tma, tma_im2col, pack"),
    "tensor copy": ("copy = tma_im2col", "copy = tma", "copy = tma does not fit a window operand: tma_im2col is for windows"),
    "fill of a ring": ("dims = [0, 2] : !tile.tile<64x32", "dims = [0, 2] fill = 1.0 : f32 : !tile.tile<64x32", "tensor copies fill with zeros"),
    "element of a ref": ("!tile.ref<1xf32, plain, constant>", "!tile.ref<1xf64, plain, constant>", "and f8E5M2, not f64: a tile.loops takes every element type"),
    "f64 operands": ("k = 32", "k = 16", "tile.mma: f64 by f64 into f32: operands have one type, and f64 is added in f64"),
    "cluster": ("swizzle = 128", "swizzle = 128, cluster = [2, 1]", "no lowering forms clusters"),
    "split": ("swizzle = 128", "swizzle = 128, split_k = 0", "split_k = 0 must be at least 1"),
    "swizzle": ("swizzle = 128", "swizzle = 48", "swizzle = 48 is not a width of the hardware"),
    "target": ('"sm_90a"', '"x86-64-v4"', "wgmma is an instruction of sm_90a and the target is x86-64-v4: use mma = fma"),
    "unknown target": ('"sm_90a"', '"sm_20"', "is not one of sm_90a"),
    # the host
    "window extents": ("!tile.view<128x9x64xf32>\n    %y", "!tile.view<64x9x64xf32>\n    %y", "tile.window makes !tile.view<128x9x64xf32>"),
    "window pads": ("pads [1, 1, 1, 1]", "pads [1, 1]", "two pads per spatial dim"),
    "window kernel": ("kernel [3, 3]", "kernel [0, 3]", "kernel, strides and dilations are at least 1"),
    "window fit": ("kernel [3, 3] pads [1, 1, 1, 1]", "kernel [30, 3] pads [1, 1, 1, 1]", "the kernel does not fit"),
    "window fill": ("pads [1, 1, 1, 1]", "pads [1, 1, 1, 1] fill 1.0 : f32", "the window fills with"),
    "unknown kernel": ("tile.apply @k", "tile.apply @other", 'there is no tile.kernel @other in this module'),
    "bound tensor": ("tensor<64xf32>)", "tensor<64x1xf32>)", "does not fit !tile.ref<1xf32, plain, constant>: rank 1 is needed"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOPPER_CASES)
def test_invalid_on_sm_90a(case: str) -> None:
    old, new, message = HOPPER_CASES[case]
    text = HOPPER.replace(old, new)
    if case == "window extents":
        text = text.replace("(!tile.view<128x9x64xf32>", "(!tile.view<64x9x64xf32>")
    if case == "f64 operands":
        text = text.replace("3xf32", "3xf64").replace("x32xf32, ring", "x16xf64, ring").replace("32]", "16]")
    if case == "element of a ref":
        text = text.replace("!tile.tile<64xf32, regs>\n      %bb", "!tile.tile<64xf64, regs>\n      %bb")
        text = text.replace("dims [1] : !tile.tile<128x64xf32", "dims [1] : !tile.tile<128x64xf64")
        text = text.replace(
            "%1 = arith.addf %u, %v : f32", "%2 = arith.truncf %v : f64 to f32\n %1 = arith.addf %u, %2 : f32"
        )
    if case == "rows of a warpgroup":
        text = text.replace("swizzle = 256", "swizzle = 128")
    if case == "rows":
        text = text.replace("swizzle = 96", "swizzle = 128")
    if case == "bound tensor":
        text = text.replace("%b: tensor<64xf32>", "%b: tensor<64x1xf32>").replace(
            "tensor<64xf32>)", "tensor<64x1xf32>)"
        )
    assert text != HOPPER
    with pytest.raises((VerifyException, SourceError)) as error:
        checked(text)
    assert message in str(error.value)


CPU_CASES = {
    "register file": (
        "[6, 64]",
        "[8, 64]",
        "register tiles take 37 vector registers of 64 bytes and x86-64-v4 has 32: use a smaller block",
    ),
    "whole vectors": (" 64]", " 60]", "60 columns are not whole vectors of 16 floats"),
    "registers of AVX2": ("x86-64-v4", "x86-64-v3", "and x86-64-v3 has 16: use a smaller block"),
    "threads": ("mma = fma", "mma = fma, warps = 4", "warps, stages and swizzle are for CUDA"),
    "copies": ("mma = fma", "mma = fma, copy = tma", "a CPU kernel reads with copy = direct or pointer_table"),
    "panel": ("tensor<1x1x5x64xf32>", "tensor<2x1x5x32xf32>", "panels are stored as [N/P, T, K, P] with P = 64"),
    "fma on the GPU": ('"cpu"', '"sm_90a"', "mma = fma is the vector instruction of the CPU"),
}


@pytest.mark.parametrize("case", CPU_CASES)
def test_invalid_on_the_cpu(case: str) -> None:
    old, new, message = CPU_CASES[case]
    text = CPU.replace(old, new)
    if case == "register file":
        text = text.replace("tile<6x", "tile<8x")
    if case == "whole vectors":
        text = text.replace("64xf32, regs", "60xf32, regs").replace("<64x1xf32", "<60x1xf32")
    with pytest.raises(VerifyException) as error:
        checked(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("k = 32,", "kk = 32,", "#tile.config has no key 'kk'"),
        ("k = 32,", "k = 32, k = 64,", "#tile.config gives 'k' twice"),
        ("block = [128, 64], ", "", "#tile.config needs 'block'"),
        ("mma = wgmma", "mma = hmma", "as mma"),
        ("mma = wgmma", "mma = wgmma_bf16", "as mma"),
        (
            "!tile.ref<3xf32, window>",
            "!tile.ref<3x4xf32, window>",
            "a ref has a rank and an element type and no extents",
        ),
        ("tile.store %o", "tile.store %oo", "%oo is not defined above this op"),
        ("tile.window %x kernel [3, 3]", "tile.window %x", "tile.window needs its kernel"),
    ],
)
def test_syntax_errors(old: str, new: str, message: str) -> None:
    with pytest.raises((ParseError, SourceError)) as error:
        checked(HOPPER.replace(old, new))
    assert message in str(error.value)
