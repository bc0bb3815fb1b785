"""wgmma: descriptor bits, operands behind every swizzle, fragment map, tf32."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import i32
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import hopper, warp
from stepwell.dialects.hopper.simulator import DescriptorFault
from stepwell.dialects.hopper.simulator.agents import Agents
from stepwell.dialects.hopper.simulator.memory import SharedMemory
from stepwell.dialects.hopper.simulator.tma import destination_chunks
from stepwell.dialects.hopper.simulator.warp_ops import places
from stepwell.dialects.hopper.simulator.wgmma import Descriptor, accumulate, fragment_map, read_operand
from stepwell.types.layouts import wgmma_fragment


@pytest.mark.parametrize("swizzle", [32, 64, 128])
def test_the_bits_of_the_dialect_decode_to_the_tile(swizzle: int) -> None:
    op = hopper.DescriptorOp(create_ssa_value(i32), swizzle)
    decoded = Descriptor.decode(op.high_bits() | 0x12340 >> 4)
    assert decoded == Descriptor(0x12340, 16, 8 * swizzle, swizzle)


def test_a_base_offset_is_refused() -> None:
    with pytest.raises(DescriptorFault, match="base offset"):
        Descriptor.decode(1 << 62 | 1 << 49)


@pytest.mark.parametrize("swizzle", [32, 64, 128])
@pytest.mark.parametrize("kind", ["f16", "tf32"])
def test_an_operand_read_behind_a_descriptor_is_the_tile_that_tma_wrote(swizzle: int, kind: str) -> None:
    dtype = np.dtype(np.float16 if kind == "f16" else np.float32)
    rows, columns = 24, swizzle // dtype.itemsize
    tile = np.arange(rows * columns, dtype=dtype).reshape(rows, columns)
    memory = SharedMemory(8192, Agents(128))
    chunks = destination_chunks(2048, rows, swizzle, swizzle)
    memory.bytes.reshape(-1, 16)[chunks >> 4] = tile.view(np.uint8).reshape(*chunks.shape, 16)
    for step in range(swizzle // 32):
        addresses = Descriptor(2048 + 32 * step, 16, 8 * swizzle, swizzle).chunks(rows)
        k = 32 // dtype.itemsize
        np.testing.assert_array_equal(read_operand(memory, addresses, kind), tile[:, k * step : k * (step + 1)])


def test_unswizzled_core_matrices_follow_both_offsets() -> None:
    addresses = Descriptor(0, 128, 256, 0).chunks(16)
    assert addresses[1].tolist() == [16, 144]
    assert addresses[8].tolist() == [256, 384]


def test_tf32_ignores_the_low_bits() -> None:
    memory = SharedMemory(1024, Agents(128))
    memory.bytes.view(np.float32)[:8] = np.float32(1 + 2**-11)
    assert (read_operand(memory, np.array([[0, 16]]), "tf32") == 1).all()


@pytest.mark.parametrize("columns", [8, 64, 256])
def test_the_accumulator_fragment_is_that_of_codegen(columns: int) -> None:
    rows, cols = fragment_map(columns)
    fragment = wgmma_fragment(columns)
    for thread, register in ((0, 0), (37, 3), (127, columns // 2 - 1), (64, 1)):
        assert (rows[thread, register], cols[thread, register]) == fragment.place(thread, register)
    a, b = np.eye(64, dtype=np.float32), np.arange(columns * 64, dtype=np.float32).reshape(columns, 64)
    registers = np.ones((128, columns // 2), np.float32)
    for k in range(0, 64, 8):
        registers = accumulate(registers, a[:, k : k + 8], b[:, k : k + 8], "tf32", "tf32")
    np.testing.assert_array_equal(registers, b.T[rows, cols] + 1)


@pytest.mark.parametrize("layout", [warp.FragmentAttr.blocked(32, 64, 256, 4), warp.FragmentAttr.blocked(8, 16, 32, 2)])
def test_blocked_fragments_are_those_of_codegen(layout: warp.FragmentAttr) -> None:
    rows, columns = places(layout)
    fragment = layout.fragment()
    for thread in range(0, layout.threads.data, 7):
        expected = [fragment.place(thread, register) for register in range(layout.registers)]
        assert list(zip(rows[thread], columns[thread], strict=True)) == expected
