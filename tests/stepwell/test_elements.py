"""The table of element types agrees with everything that is made from it or beside it."""

from __future__ import annotations

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from xdsl.dialects.builtin import FixedBitwidthType

from stepwell.codegen.asm import wgmma
from stepwell.codegen.ptx_interpreter import products
from stepwell.dialects.hopper.simulator.wgmma import ELEMENTS as SIMULATED
from stepwell.dialects.numpy_types import ELEMENT_TYPE_NAMES, element_type_named
from stepwell.types.elements import ELEMENTS, element, operands_of


def test_every_element_type_has_a_row() -> None:
    assert set(ELEMENTS) == set(ELEMENT_TYPE_NAMES)


@pytest.mark.parametrize("name", ELEMENT_TYPE_NAMES)
def test_sizes_are_those_of_numpy_and_xdsl(name: str) -> None:
    row, kind = element(name), element_type_named(name)
    assert np.dtype(getattr(ml_dtypes, row.numpy, row.numpy)).itemsize == row.bytes
    assert not isinstance(kind, FixedBitwidthType) or kind.bitwidth == row.bits


def test_products_are_those_of_both_executors() -> None:
    """Simulator and PTX interpreter have tables of their own: decoding shares nothing with emission."""
    rows = operands_of("wgmma")
    assert set(rows) == set(SIMULATED) == set(products._SIZES)
    for operand, row in rows.items():
        way = row.product("wgmma")
        assert way is not None and row.bytes == products._SIZES[operand]
        assert {name.replace("i32", "s32") for name in way.accumulators} == set(products._RESULTS[operand])


@pytest.mark.parametrize(
    "operand, k, total",
    [("f16", 16, "f32"), ("bf16", 16, "f32"), ("tf32", 8, "f32"), ("e4m3", 32, "f32"), ("s8", 32, "s32")],
)
def test_an_instruction_takes_32_bytes_of_k(operand: str, k: int, total: str) -> None:
    assert f"m64n64k{k}.{total}.{operand}.{operand} " in wgmma(32, operand, [0], [0], total).text


def test_a_name_that_is_none() -> None:
    with pytest.raises(ValueError, match="unknown element type 'f12'; known are f16"):
        element("f12")


def test_the_table_is_light() -> None:
    code = "import sys, stepwell.types.elements; print(any(n in sys.modules for n in ('xdsl', 'ml_dtypes')))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "False\n"
