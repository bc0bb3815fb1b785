"""tile.loops: both syntaxes, one invalid case per invariant, and what the interpreters make of it."""

import numpy as np
import pytest
from xdsl.utils.exceptions import VerifyException

from stepwell.driver.execute import interpret
from stepwell.ir.printing import module_text
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context

LOOPS = """
builtin.module attributes {stepwell.level = "tile", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  tile.loops @sums(%x: tensor<2x3xf64>) -> (tensor<2xf64>) config #tile.config<block = [64], form = loops> {
    %zero = arith.constant 0.0 : f64
    %e = tensor.empty() : tensor<2xf64>
    %init = linalg.fill ins(%zero : f64) outs(%e : tensor<2xf64>) -> tensor<2xf64>
    %r = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<2x3xf64>) outs(%init : tensor<2xf64>) {
    ^bb0(%a: f64, %c: f64):
      %s = arith.addf %a, %c : f64
      linalg.yield %s : f64
    } -> tensor<2xf64>
    tile.yield %r
  }
  func.func @main(%x: tensor<2x3xf64> {stepwell.name = "x"}) -> (tensor<2xf64> {stepwell.name = "y"}) {
    %y = tile.apply @sums(%x) : (tensor<2x3xf64>) -> tensor<2xf64>
    func.return %y : tensor<2xf64>
  }
}
"""


def test_it_round_trips() -> None:
    module = parse_text(make_context(), LOOPS, SourceMap("test"))
    module.verify()
    for text in (module_text(module), module_text(parse_text(make_context(), module_text(module), SourceMap("test")))):
        again = parse_text(make_context(), text, SourceMap("test"))
        again.verify()
        assert again.is_structurally_equivalent(module) and module_text(again) == text


def test_it_is_executed() -> None:
    module = parse_text(make_context(), LOOPS, SourceMap("test"))
    (y,) = interpret(module, {"x": np.arange(6.0).reshape(2, 3)}).values()
    assert y.tolist() == [3.0, 12.0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("form = loops", "form = tiles", "its config has form = tiles, loops is wanted"),
        ("block = [64]", "block = [8, 8]", "takes a block of one extent"),
        ("form = loops", "form = loops, mma = fma", "and nothing else"),
        ('"cpu", stepwell.cpu = "x86-64-v4"', '"sm_20"', "the target sm_20 is not one of sm_90a"),
        ("-> (tensor<2xf64>) config", "-> (tensor<3xf64>) config", "the body yields the outputs of the kernel's type"),
        ("-> (tensor<2xf64>) config", "-> (f64) config", "f64 is no tensor of static shape"),
        ("    tile.yield %r\n", "", "the body ends in tile.yield"),
        ("tile.yield %r", "%g = graph.unary relu %r : tensor<2xf64> -> tensor<2xf64>\n tile.yield %g", "not graph.unary"),
        ("tile.apply @sums(%x) : (tensor<2x3xf64>) -> tensor<2xf64>", "tile.apply @sums(%x) : (tensor<2x3xf64>) -> tensor<3xf64>", "not what it is applied to"),
    ],
)  # fmt: skip
def test_invalid(old: str, new: str, message: str) -> None:
    text = LOOPS.replace(old, new, 1)
    assert text != LOOPS
    if message == "not what it is applied to":
        text = text.replace("-> (tensor<2xf64> {", "-> (tensor<3xf64> {").replace(
            "%y : tensor<2xf64>", "%y : tensor<3xf64>"
        )
    with pytest.raises(VerifyException, match=message.replace("[", r"\[")):
        parse_text(make_context(), text, SourceMap("test")).verify()
