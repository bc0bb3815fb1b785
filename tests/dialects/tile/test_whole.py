"""Blocks that take a dim whole: their grid, loops with stores, `tile.inside`; in text, in the verifier, in the interpreter."""

import numpy as np
import pytest
from xdsl.utils.exceptions import ParseError, VerifyException

from stepwell.dialects.tile.interpreter import run_function
from stepwell.ir.printing import module_text
from stepwell.ir.source import SourceError, SourceMap, parse_text
from stepwell.plugins.universe import make_context

SUMS = """
builtin.module attributes {stepwell.level = "tile"} {
  tile.kernel @shares(%x: !tile.ref<2xf64, plain>) -> (%y: !tile.ref<2xf64, plain>, %s: !tile.ref<1xf64, plain>) config #tile.config<block = [4, *]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %x block [4, *] {
      %z = tile.fill 0.0 : f64 -> !tile.tile<4x8xf64, regs>
      %acc = tile.for (%k) of %x dims [1] step [8] iter (%c = %z) -> !tile.tile<4x8xf64, regs> {
        %v = tile.load %x[%i, %k] fill = 7.0 : f64 : !tile.tile<4x8xf64, regs>
        %in = tile.inside %x[%i, %k] : !tile.tile<4x8xi1, regs>
        %n = tile.map (%a = %v, %b = %in, %t = %c) {
          %0 = arith.constant 0.0 : f64
          %1 = arith.select %b, %a, %0 : f64
          %2 = arith.addf %1, %t : f64
          tile.yield %2
        } : !tile.tile<4x8xf64, regs>
        tile.yield %n
      }
      %sum = tile.reduce add %acc dims [1]
      tile.store %sum, %s[%i]
      %whole = tile.broadcast %sum dims [0] : !tile.tile<4x8xf64, regs>
      tile.for (%k) of %y dims [1] step [8] {
        %v = tile.load %x[%i, %k] : !tile.tile<4x8xf64, regs>
        %o = tile.map (%a = %v, %b = %whole) {
          %0 = arith.divf %a, %b : f64
          tile.yield %0
        } : !tile.tile<4x8xf64, regs>
        tile.store %o, %y[%i, %k]
      }
    }
  }
  func.func @main(%x: tensor<5x11xf64>) -> (tensor<5x11xf64>, tensor<5xf64>) {
    %y, %s = tile.apply @shares(%x) : (tensor<5x11xf64>) -> (tensor<5x11xf64>, tensor<5xf64>)
    func.return %y, %s : tensor<5x11xf64>, tensor<5xf64>
  }
}
"""
FITS = SUMS.replace("tile.for (%k) of %y dims [1] step [8] {", "").replace("        tile.store %o, %y[%i, %k]\n      }", "        tile.store %o, %y[%i, %j]").replace(
    "%v = tile.load %x[%i, %k] : !tile.tile<4x8xf64", "%v = tile.load %x[%i, %j] : !tile.tile<4x8xf64"
).replace("x11xf64", "x7xf64")  # fmt: skip
"""The same for rows of at most 8 elements: the tile that is stored begins at the row's start."""


def checked(text: str) -> str:
    """The module's text, after parsing and verifying it."""
    module = parse_text(make_context(), text, SourceMap("test"))
    module.verify()
    return module_text(module)


@pytest.mark.parametrize("text", [SUMS, FITS])
def test_text_round_trip(text: str) -> None:
    printed = checked(text)
    assert "block [4, *]" in printed
    assert "block = [4, *]" in printed
    assert checked(printed) == printed


@pytest.mark.parametrize("text", [SUMS, FITS])
@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (4, 8), (9, 2), (3, 0), (0, 3)])
def test_interpreter(text: str, shape: tuple[int, int]) -> None:
    extents = "5x7" if text is FITS else "5x11"
    rows, columns = shape
    text = text.replace(extents, f"{rows}x{columns}").replace("tensor<5xf64>", f"tensor<{rows}xf64>")
    x = np.random.default_rng(0).integers(1, 9, shape).astype(np.float64)
    y, s = run_function(parse_text(make_context(), text, SourceMap("test")), [x])
    assert np.array_equal(s, x.sum(1))
    assert np.array_equal(y, x / x.sum(1, keepdims=True))


CASES = {
    "a whole dim as 0": ("block = [4, *]", "block = [4, 0]", "write * for a dim that no block cuts"),
    "nothing is cut": ("block [4, *]", "block [*, *]", "the config [4, *]"),
    "the grid's offset left out": ("%y[%i, %k]", "%y[%j, %k]", "at the offsets of tile.for_tiles that are cut and of every loop"),
    "the loop's offset left out": ("%y[%i, %k]", "%y[%i, %j]", "or elements are written again"),
    "gaps": ("%y dims [1] step [8]", "%y dims [1] step [16]", "the tile is as long as a step"),
    "no number of the ref's": ("tile.inside %x[%i, %k]", "tile.inside %x[%i]", "a ref of rank 2 takes 2 offsets"),
    "not a truth": ("%in = tile", "%n8 = tile.inside %x[%i, %k] : !tile.tile<4x8xi8, regs>\n%in = tile", "makes a register tile of i1, not"),
    "bits of floats": ("tile.reduce add", "tile.reduce and", "and folds integers, not f64"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_invalid(name: str) -> None:
    old, new, message = CASES[name]
    assert old in SUMS
    with pytest.raises((VerifyException, ParseError, SourceError)) as error:
        checked(SUMS.replace(old, new))
    assert message in str(error.value)


def test_rows_that_are_longer_than_the_tile() -> None:
    with pytest.raises((VerifyException, SourceError)) as error:
        checked(FITS.replace("x7xf64", "x9xf64"))
    assert "it writes 8 elements along dim 1, there are 9" in str(error.value)
