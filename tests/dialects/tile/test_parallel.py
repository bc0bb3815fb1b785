"""tile.parallel: both syntaxes, one invalid case per invariant, and what the interpreter makes of runs that are not independent."""

import numpy as np
import pytest
from xdsl.utils.exceptions import VerifyException

from stepwell.driver.execute import interpret
from stepwell.ir.printing import module_text
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import UsageError

SCAN = """
builtin.module attributes {stepwell.level = "tile", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  tile.parallel @scan(%x: memref<2x3xf32>) -> (%y: memref<2x3xf32>) for %n below 2 config #tile.config<block = [64], form = loops> {
    %zero = arith.constant 0 : index
    %one = arith.constant 1 : index
    %end = arith.constant 3 : index
    %start = arith.constant 0.0 : f32
    %last = scf.for %i = %zero to %end step %one iter_args(%total = %start) -> (f32) {
      %v = memref.load %x[%n, %i] : memref<2x3xf32>
      %sum = arith.addf %total, %v : f32
      memref.store %sum, %y[%n, %i] : memref<2x3xf32>
      scf.yield %sum : f32
    }
    %odd = arith.cmpi eq, %n, %one : index
    scf.if %odd {
      %again = memref.load %y[%n, %zero] : memref<2x3xf32>
    }
  }
  func.func @main(%x: tensor<2x3xf32> {stepwell.name = "x"}) -> (tensor<2x3xf32> {stepwell.name = "y"}) {
    %y = tile.apply @scan(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
    func.return %y : tensor<2x3xf32>
  }
}
"""


def test_it_round_trips() -> None:
    module = parse_text(make_context(), SCAN, SourceMap("test"))
    module.verify()
    text = module_text(module)
    assert (
        "tile.parallel @scan(%x: memref<2x3xf32>" in text
        and "for %n below 2 config #tile.config<block = [64], form = loops> {" in text
    )
    again = parse_text(make_context(), text, SourceMap("test"))
    again.verify()
    assert again.is_structurally_equivalent(module) and module_text(again) == text


def test_it_is_executed() -> None:
    module = parse_text(make_context(), SCAN, SourceMap("test"))
    (y,) = interpret(module, {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}).values()
    assert y.tolist() == [[0, 1, 3], [3, 7, 12]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("form = loops", "form = tiles", "its config has form = tiles, loops is wanted"),
        ("for %n below 2", "for %n below -1", "it runs -1 times"),
        ("memref.store %sum, %y", "memref.store %sum, %x", "memref.store writes an output of the kernel"),
        ("step %one", "step %end", "in steps of a constant 1"),
        ("    scf.if %odd {\n      %again", "    scf.if %odd {\n    } else {\n      %again", "no results and no else"),
        ("%sum = arith.addf", "%g = memref.alloc() : memref<4xf32>\n %sum = arith.addf", "not memref.alloc"),
        ("-> (%y: memref<2x3xf32>) for", "-> () for", "it has no output"),
    ],
)
def test_invalid(old: str, new: str, message: str) -> None:
    text = SCAN.replace(old, new, 1)
    assert text != SCAN
    if "no output" in message:
        text = text.replace("memref.store %sum, %y[%n, %i] : memref<2x3xf32>", "").replace(
            "%again = memref.load %y", "%again = memref.load %x"
        )
    with pytest.raises(VerifyException, match=message):
        parse_text(make_context(), text, SourceMap("test")).verify()


def test_an_operand_is_a_memref() -> None:
    with pytest.raises(Exception, match="is a memref of static shape, row-major"):
        parse_text(make_context(), SCAN.replace("(%x: memref<2x3xf32>)", "(%x: tensor<2x3xf32>)", 1), SourceMap("test"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("%y[%n, %i] :", "%y[%zero, %i] :", "run . stores an element that run . stores"),
        ("%y[%n, %i] :", "%y[%n, %zero] :", "run 0 stores an element that run 0 stores"),
        ("load %y[%n, %zero]", "load %y[%zero, %zero]", "run 1 reads an element of run 0"),
        ("%start = arith.constant 0.0 : f32", "%start = memref.load %y[%n, %zero] : memref<2x3xf32>", "never stored"),
        ("for %n below 2", "for %n below 1", "no run stores element 3 of output 0"),
        ("load %x[%n, %i]", "load %x[%i, %n]", r"index 2 of \[2, 3\] in run 0 is outside"),
    ],
)
def test_runs_are_independent(old: str, new: str, message: str) -> None:
    text = SCAN.replace(old, new, 1)
    assert text != SCAN
    module = parse_text(make_context(), text, SourceMap("test"))
    with pytest.raises(UsageError, match=message):
        interpret(module, {"x": np.zeros((2, 3), np.float32)})
