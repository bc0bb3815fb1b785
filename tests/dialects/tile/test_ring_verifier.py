"""What the verifier says of rings, roles, layouts and products in flight: one invalid module per rule."""

from pathlib import Path

import pytest
from xdsl.dialects.builtin import f32
from xdsl.utils.exceptions import ParseError, VerifyException

from stepwell.dialects import tile
from stepwell.ir.printing import module_text
from stepwell.ir.source import SourceError, SourceMap, parse_text
from stepwell.plugins.universe import make_context

HERE = Path(__file__).parent
PRODUCT = (HERE / "ring_product.mlir").read_text()
CONVOLUTION = (HERE / "ring_convolution.mlir").read_text()


def checked(text: str) -> str:
    """The module's text, after parsing and verifying it."""
    module = parse_text(make_context(), text, SourceMap("test"))
    module.verify()
    return module_text(module)


@pytest.mark.parametrize("text", [PRODUCT, CONVOLUTION])
def test_valid(text: str) -> None:
    printed = checked(text)
    assert checked(printed) == printed


FETCH_X = "          tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma\n"
AHEAD = "          tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma\n"
CASES = {
    "no slots": ("slots 4", "slots 0", "0 slots: it has one at least"),
    "placement": ("at 0 barriers", "at 8 barriers", "at 8 is no multiple of 16 bytes"),
    "half a placement": (" barriers 98304", "", "slots and barriers are placed together, or neither is"),
    "too many slots": ("slots 4", "slots 12", "shared memory are there: take fewer slots"),
    "an element is not fetched": (FETCH_X, "", "ring %ab: element #0 is never fetched, so no slot is ever full"),
    "another element": ("to %ab#0 via tma", "to %ab#2 via tma", "a slot has 2 elements, there is no #2"),
    "a way to copy": ("to %ab#0 via tma", "to %ab#0 via pigeon", "via pigeon is no way to copy: tma, tma_im2col, cp_async, direct"),
    "im2col of rows": ("to %ab#0 via tma", "to %ab#0 via tma_im2col", "does not fit a plain ref: tma_im2col is for windows"),
    "halves as tf32": ("to %ab#0 via tma", "to %ab#0 via tma as tf32", "f32 elements are fetched as tf32, not f16 as tf32"),
    "never released": ("tile.release %ab behind 1", "", "is awaited in a loop and not released there: its slots run out"),
    "keeps all slots": ("behind 1", "behind 4", "has 4 slots and tile.release keeps 4: none is free to be filled"),
    "behind nothing": ("behind 1", "behind -1", "behind 1 or more; without it everything is released"),
    "released twice": ("        tile.release %ab\n", "        tile.release %ab\n        tile.release %ab\n", "ring %ab is released twice"),
    "released in flight": ("tile.release %ab behind 1", "tile.release %ab", "ring %ab is released while a product in flight reads it"),
    "looks at a product in flight": ("= %p,", "= %acc,", "in flight is used more than once: finish it first"),
    "ends nothing": ("tile.mma %a, %bt, %c async", "tile.mma %a, %bt, %c", "tile.finish: nothing is in flight here"),
    "reads early": ("    tile.role \"multiply\" warpgroups 2 {\n      tile.wait_predecessor\n", "    tile.role \"multiply\" warpgroups 2 {\n", 'role "multiply" has 0 tile.wait_predecessor'),
    "fetches early": (AHEAD, AHEAD.replace("%w", "%x").replace("#1", "#0"), 'role "load" loads from'),
    "too many warpgroups": ('"multiply" warpgroups 2', '"multiply" warpgroups 3', "its roles take 4 warpgroups of 4 warps, the config has warps = 12"),
    "one budget": ('"multiply" warpgroups 2', '"multiply" warpgroups 2 registers 232', "give every role one, or none"),
    "one name": ('"multiply"', '"load"', "each has a name of its own"),
    "order of one": ('"load" warpgroups 1', '"load" warpgroups 1 order @turn', "an order is among copies, here is one"),
    "layout of rows": ("128x64xf16 #tile.shared<128>", "128x32xf16 #tile.shared<128>", "rows of 64 bytes are not whole swizzles of 128"),
    "no such swizzle": ("128x64xf16 #tile.shared<128>", "128x64xf16 #tile.shared<48>", "swizzle 48 is none of the hardware's"),
    "registers in a ring": ("128x64xf16 #tile.shared<128>", "128x64xf16 #tile.wgmma", "is no layout of a ring tile"),
    "slice of shared": ("#tile.slice<0, #tile.wgmma>", "#tile.slice<0, #tile.shared<128>>", "the parent is the layout of register tiles"),
    "access": ("%b[%j] access 2", "%b[%j] access 3", "access 3 does not go into rows of 64 elements"),
    "first tiles": ("block [128, 64] first 1", "block [128, 64] first 0", "the first tiles of a block are one at least"),
    "first iterations": ("step [1, 64] first 4", "step [1, 64] first 0", "the first iterations are one at least"),
    "no ring": ("to %ab#0 via tma", "to %none#0 via tma", "%none is no ring that is defined above this op"),
    "work beside roles": ('    tile.role "load"', '    tile.wait_predecessor\n    tile.role "load"', "tile.wait_predecessor stands beside roles"),
    "blocks": ("blocks_per_multiprocessor = 2", "blocks_per_multiprocessor = 0", "blocks_per_multiprocessor = 0 must be at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_invalid(name: str) -> None:
    old, new, message = CASES[name]
    assert old in PRODUCT
    with pytest.raises((VerifyException, ParseError, SourceError)) as error:
        checked(PRODUCT.replace(old, new))
    assert message in str(error.value)


BUDGETS = {
    "not of eight": ("registers 232", "registers 230", "budgets are multiples of 8 in 24 .. 240"),
    "too many": ("registers 40", "registers 96", "a multiprocessor has 65536: lower a budget"),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_budgets(name: str) -> None:
    old, new, message = BUDGETS[name]
    with pytest.raises((VerifyException, SourceError)) as error:
        checked(CONVOLUTION.replace(old, new))
    assert message in str(error.value)


ATTENTION = (HERE / "ring_attention.mlir").read_text()
ATTENTION_CASES = {
    "no fold": ("tile.reduce max %u0", "tile.reduce mean %u0", "tile.reduce: mean is no fold: add, mul, max, min"),
    "all dims": ("%u0 dims [1]", "%u0 dims [0, 1]", "leave one dim of"),
    "no dim": ("%u0 dims [1]", "%u0 dims [2]", "dims [2] are not dims of"),
    "partial of nothing": ("add %l9 dims []", "add %l9 dims [] partial", "what is folded between threads is whole afterwards"),
    "another init": ("init %mc", "init %oc", "tile.reduce: init is"),
    "no layout": ("%h0 -> #tile.wgmma_a", "%h0 -> #tile.shared<128>", "is no layout of a regs tile"),
    "a dim that is not there": ("tile.iota 1 at", "tile.iota 2 at", "has no dim 2"),
    "a range of two dims": ("%k dims [0] step [64]", "%k dims [0, 1] step [64, 64]", "a range is from 0 or more on, along the one dim"),
    "operand in registers": ("tile.mma %pa0", "tile.mma %h0", "never from #tile.wgmma: load them with that residence"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTENTION_CASES)
def test_invalid_attention(name: str) -> None:
    old, new, message = ATTENTION_CASES[name]
    assert old in ATTENTION
    text = ATTENTION.replace(old, new)
    if name == "a range of two dims":
        text = text.replace("tile.for (%t)", "tile.for (%t, %t2)")
    with pytest.raises((VerifyException, ParseError, SourceError)) as error:
        checked(text)
    assert message in str(error.value)


def test_only_integers_count() -> None:
    with pytest.raises(VerifyException, match="makes a register tile of integers, not"):
        tile.IotaOp(0, tile.TileType([4], f32)).verify_()


MACHINE = {
    "a way that sm_90a lacks for rings": ("to %ab#1 via tma as tf32", "to %ab#1 via cp_async as tf32", "via cp_async: rings of sm_90a are filled via tma or tma_im2col"),
    "a swizzle that is no row": ("(128x32xf32 #tile.shared<128>", "(128x32xf32 #tile.shared<64>", "the swizzle is as long as a row, #tile.shared<128>"),
    "no swizzle": ("(128x32xf32 #tile.shared<128>", "(128x32xf32 #tile.shared<none>", "wgmma reads operand a from"),
    "operands as they are": (" as tf32", "", "wgmma takes f32 operands as tf32: fetch element #0 `as tf32`"),
    "another fragment": ("#tile.wgmma", "#tile.mma_sync", "wgmma holds its result as #tile.wgmma, not as #tile.mma_sync"),
    "wide accesses": ("tile.store %o, %y[%i, %j] access 2", "tile.store %o, %y[%i, %j] access 4", "a thread holds 2 columns side by side, access 2 is the most"),
    "too many blocks": ("swizzle = 128>", "swizzle = 128, blocks_per_multiprocessor = 2>", "shared memory: a multiprocessor holds 1"),
    "layouts that meet": ("regs, #tile.slice<0, #tile.wgmma>>", "regs, #tile.slice<1, #tile.wgmma>>", "it lies in #tile.slice<0, #tile.wgmma>"),
}  # fmt: skip


@pytest.mark.parametrize("name", MACHINE)
def test_what_the_machine_does_not_do(name: str) -> None:
    old, new, message = MACHINE[name]
    assert old in CONVOLUTION
    with pytest.raises((VerifyException, SourceError)) as error:
        checked(CONVOLUTION.replace(old, new))
    assert message in str(error.value)


def test_a_map_holds_its_tiles_in_one_layout() -> None:
    text = PRODUCT.replace(
        "access 2 : !tile.tile<128x64xf16, regs, #tile.wgmma>",
        "access 2 : !tile.tile<128x64xf16, regs, #tile.mma_sync>",
    )
    with pytest.raises(VerifyException, match="operands and result lie in one layout"):
        checked(text)


def test_ranges_stand_in_kernels_with_rings() -> None:
    text = (HERE / "conv.mlir").read_text()
    assert checked(text)
    with pytest.raises(VerifyException, match="stands in kernels with rings: others run over whole dims"):
        checked(text.replace("step [1, 32] iter", "step [1, 32] first 2 iter"))
