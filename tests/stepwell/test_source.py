"""Texts: what is wrong is said with its place, strings of every alphabet come back, and values are defined where they are used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp, StringAttr

from stepwell.driver.modules import read_mlir
from stepwell.ir.printing import module_text
from stepwell.ir.source import SourceError, SourceMap, parse_text
from stepwell.plugins.universe import make_context


def read(text: str) -> ModuleOp:
    return read_mlir(text, SourceMap("text"), Path()).module


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_string_round_trips(value: str) -> None:
    text = module_text(ModuleOp([], {"name": StringAttr(value)}))
    assert text.isascii()
    again = parse_text(make_context(), text, SourceMap("text"))
    assert again.attributes["name"] == StringAttr(value)


def test_bytes_that_are_no_text_stay_bytes() -> None:
    with pytest.raises(SourceError, match="text:1:"):
        read('func.func @f() { func.return } loc("\\FF")')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("func.func @f() {\n  %a = arith.addi %b, %b : i32\n  %b = arith.constant 1 : i32\n  func.return\n}", "text:2: .*operand 0 is used where"),
        ("func.func @f() {\n  cf.br ^a\n^b:\n  %x = arith.constant 1 : i32\n  cf.br ^c\n^a:\n  cf.br ^c\n^c:\n  %y = arith.addi %x, %x : i32\n  func.return\n}", "text:9: .*operand 0 is used where"),
        ("func.func @f(%p: i1) {\n  cf.cond_br %p, ^a, ^b\n^a:\n  %x = arith.constant 1 : i32\n  cf.br ^b\n^b:\n  %y = arith.addi %x, %x : i32\n  func.return\n}", "text:7: .*operand 0 is used where"),
        ("func.func @f(%p: i1) {\n  %x = arith.constant 1 : i32\n  cf.cond_br %p, ^a, ^b\n^a:\n  cf.br ^b\n^b:\n  %y = arith.addi %x, %x : i32\n  cf.br ^a\n}", ""),
        ("llvm.func @f() {\n  %0 = llvm.add %1, %1 : i64\n  %1 = llvm.mlir.constant(1 : i64) : i64\n  llvm.return\n}", "text:2: .*operand 0 is used where"),
        ("llvm.func @f() {\n  %0 = llvm.add %1, %1 : i64\n  llvm.return\n}", "values used but not defined"),
        ("func.func @f() {\n  scf.execute_region {\n    %x = arith.constant 1 : i32\n    scf.yield\n  }\n  %y = arith.addi %x, %x : i32\n  func.return\n}", "."),
    ],
)  # fmt: skip
def test_values_are_defined_where_they_are_used(text: str, message: str) -> None:
    if not message:
        read(text)
        return
    with pytest.raises(SourceError, match=message):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "%0 = tile.yield %-1",
        "tile.yield %-1",
        'tile.kernel @k(%x: !tile.ref<2xf32>) -> (%y) { tile.yield %-1 }',
        "func.func @f(%x: tensor<1x1x4x4xf32>) { %y = graph.pool max %x kernel [1, 1] strides [1, 1] pads [0, 0, 0, 9223372036854775808] dilations [1, 1] : tensor<1x1x4x4xf32> -> tensor<1x1x4x4xf32> func.return }",
        "func.func @f(%x: tensor<99999999999999999999999x4xf32>) { func.return }",
        "func.func @f(%x: tensor<-4xf32>) { func.return }",
        "builtin.module attributes {a = dense<1> : tensor<9999999999999999xi8>} {}",
        "builtin.module attributes {a = 1e99999 : f32} {}",
        "builtin.module attributes {a = #graph.weight<>} {}",
        "builtin.module attributes {a = array<i32: 99999999999>} {}",
    ],
)  # fmt: skip
def test_odd_texts_are_refused_or_read(text: str) -> None:
    try:
        read(text)
    except SourceError as error:
        assert "text:1:" in str(error)


@pytest.mark.parametrize(
    "seeded", [ZeroDivisionError("x"), KeyError("x"), IndexError(), AssertionError("x"), RecursionError()]
)
def test_what_a_verifier_raises_is_about_the_text(seeded: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise seeded

    monkeypatch.setattr("stepwell.dialects.graph.UnaryOp.verify_", broken)
    text = "func.func @f(%x: tensor<2xf32>) {\n  %y = graph.unary relu %x : tensor<2xf32> -> tensor<2xf32>\n  func.return\n}"
    with pytest.raises(SourceError, match=rf"text:2: 'graph.unary' op: {type(seeded).__name__}"):
        read(text)


def test_a_missing_memory_is_not_about_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object) -> None:
        raise MemoryError

    reader: Callable[[str], ModuleOp] = read
    monkeypatch.setattr("stepwell.dialects.graph.UnaryOp.verify_", short)
    with pytest.raises(MemoryError):
        reader(
            "func.func @f(%x: tensor<2xf32>) { %y = graph.unary relu %x : tensor<2xf32> -> tensor<2xf32> func.return }"
        )
