"""What a GPU computed (`tests/gpu/record_golden.py`), bit for bit: wgmma of every type, layout and transposition, and tensor copies of every mode, on the PTX interpreter and
on the simulator's machine."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepwell.codegen.ptx_interpreter import parse, run_entry
from stepwell.codegen.ptx_interpreter.program import tensor_map
from stepwell.dialects.hopper.simulator import GlobalBuffer
from stepwell.dialects.hopper.simulator.block import Block, Role, Statistics, Waiting
from stepwell.dialects.hopper.simulator.wgmma import ELEMENTS, SHARED_BASE, Descriptor, Operand
from stepwell.runtime.program import TensorMap
from stepwell.testing.golden import Copy, Golden, Product, everything

FILE = Path(__file__).resolve().parents[2] / "gpu" / "golden.npz"
LIMIT = 300_000


@cache
def recorded() -> dict[str, np.ndarray]:
    with np.load(FILE) as file:
        return {name: file[name] for name in file.files}


@cache
def by_name() -> dict[str, Golden]:
    return {golden.name: golden for golden in everything()}


NAMES = [golden.name for golden in everything() if golden.name in recorded()]
COPIES = [name for name in NAMES if isinstance(by_name()[name].meaning, Copy)]
PRODUCTS = [name for name in NAMES if isinstance(by_name()[name].meaning, Product)]


def check(name: str, words: np.ndarray) -> None:
    """The same bits; any NaN for a NaN."""
    meaning = by_name()[name].meaning
    result = meaning.result if isinstance(meaning, Product) else "u32"
    kind: Any = {"f16": np.float16, "f32": np.float32}.get(result, np.uint32)
    found, expected = words.view(kind), recorded()[name].view(kind)
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), nan)
    unsigned = f"u{found.itemsize}"
    np.testing.assert_array_equal(found[~nan].view(unsigned), expected[~nan].view(unsigned))


def test_everything_is_recorded_in_a_small_file() -> None:
    assert set(recorded()) == {*NAMES, "recorded_on"} and len(NAMES) >= 84
    assert "H200" in str(recorded()["recorded_on"])
    assert FILE.stat().st_size < LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_the_interpreter_gives_what_was_recorded(name: str) -> None:
    golden = by_name()[name]
    first = golden.arguments[0]
    assert isinstance(first, np.ndarray)
    source = GlobalBuffer.of_array("source", first, constant=True)
    output = GlobalBuffer.poisoned("output", golden.output // 4, np.uint32)
    arguments: list[Any] = [source]
    for argument in golden.arguments[1:]:
        match argument:
            case TensorMap():
                arguments.append(tensor_map(argument, source))
            case np.ndarray():
                arguments.append(GlobalBuffer.of_array("start", argument.view(np.uint32), constant=True))
            case number:
                arguments.append(number)
    run_entry(parse(golden.ptx), "golden", [*arguments, output], (1, 1, 1), shared=golden.shared)
    check(name, output.values())


@pytest.mark.parametrize("name", COPIES)
def test_the_simulator_copies_what_was_recorded(name: str) -> None:
    golden = by_name()[name]
    copy, data = golden.meaning, golden.arguments[0]
    assert isinstance(copy, Copy) and isinstance(data, np.ndarray)
    block, flag = Block(0, 128, golden.shared, 0, Statistics()), golden.shared - 8
    block.mbarriers.init(0, flag, 1)
    block.mbarriers.fence_init(0)
    block.mbarriers.arrive(0, flag, 1, copy.bytes)
    source = GlobalBuffer.of_array("source", data, constant=True)
    block.issue_load(0, tensor_map(copy.map, source), copy.coordinates, copy.offsets, 0, flag, "the copy")

    def role() -> Role:
        yield Waiting(lambda: block.mbarriers.is_complete(0, flag, 0), lambda: "waits")

    block.run({"all": role()})
    check(name, block.shared.bytes[: copy.bytes].view(np.uint32))


@pytest.mark.parametrize("name", [name for name in PRODUCTS if "f16_n" not in name])
def test_the_simulator_multiplies_to_what_was_recorded(name: str) -> None:
    golden = by_name()[name]
    product, (image, start, *_) = golden.meaning, golden.arguments
    assert isinstance(product, Product) and isinstance(image, np.ndarray) and isinstance(start, np.ndarray)
    block = Block(0, 128, golden.shared, 0, Statistics())
    block.shared.check_write(slice(0, golden.shared // 16), 0, 0, block.agents.known[0], generic=False, what="image")
    block.shared.bytes[:] = image
    block.shared.mark_swizzle(slice(0, golden.shared // 16), -1)
    registers = start.reshape(128, -1) * start.dtype.type(product.keeps)
    second = -(-product.left.size // 1024) * 1024
    for step in range(product.steps):
        operands = [
            Operand(Descriptor.decode_dynamic(layout.descriptor + ((SHARED_BASE + at + 32 * step) >> 4)), rows, kind, layout.transposed, sign < 0)
            for layout, at, rows, kind, sign in (
                (product.left, 0, 64, product.a, product.signs[0]), (product.right, second, product.columns, product.b, product.signs[1]),
            )
        ]  # fmt: skip
        registers = block.multiply(0, registers, operands[0], operands[1], "the product")
    check(name, np.ascontiguousarray(registers).reshape(-1).view(np.uint32))


def test_tf32_operands_are_cut_and_tensor_copies_round() -> None:
    """The recorded products of operands with all mantissa bits say the first, the recorded copies as tf32 the second: either one swapped gives other bits."""
    bits = np.array([0x3F801FFF], np.uint32).view(np.uint8)
    assert ELEMENTS["tf32"].decode(bits.reshape(1, 4)).view(np.uint32).item() == 0x3F800000
    name = "tiled_tf32"
    data = by_name()[name].arguments[0]
    assert isinstance(data, np.ndarray)
    cut = data.view(np.uint32) & np.uint32(0xFFFFE000)
    landed = recorded()[name]
    assert not (landed & np.uint32(0x1FFF)).any()
    assert len(np.setdiff1d(landed, cut)) > len(landed) // 3
