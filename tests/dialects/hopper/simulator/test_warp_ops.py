"""Ops of the warp dialect on lanes: fragments, gathers, division, divergent control flow, barriers between warpgroups; and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import warp
from stepwell.dialects.hopper.simulator import (
    DeadlockFault,
    DivergenceFault,
    GlobalBuffer,
    MisalignedFault,
    OutOfBoundsFault,
    PredecessorFault,
    RaceFault,
    UninitialisedFault,
    WriteTwiceFault,
    check_complete,
    simulate_kernel,
)
from stepwell.dialects.hopper.simulator.launch import Argument
from stepwell.types.layouts import magic_number

Parse = Callable[[str], ModuleOp]
LAYOUT = "<blocked 8x64 threads 128 width 4>"


def kernel(parse: Parse, parameters: str, body: str, threads: int = 128) -> warp.KernelOp:
    text = f"builtin.module {{ warp.kernel @k({parameters}) threads {threads} shared 0 {{ {body}\n warp.return }} }}"
    op = parse(text).body.block.first_op
    assert isinstance(op, warp.KernelOp)
    return op


def copy_kernel(parse: Parse, *, wait: str = "warp.wait_predecessor", access: int = 4) -> warp.KernelOp:
    """y = x, tiles of 8 x 64, one block per tile row."""
    body = f"""
      %c0 = arith.constant 0 : i32
      %c8 = arith.constant 8 : i32
      {wait}
      %b = warp.block_id
      %r = arith.muli %b, %c8 : i32
      %v = warp.fragment_load %x[%r, %c0] stride %s bounds [%m, %n] {LAYOUT} access {access} : !warp.global<f32> -> vector<4xf32>
      warp.fragment_store %v, %y[%r, %c0] stride %n bounds [%m, %n] {LAYOUT} access {access} : vector<4xf32>, !warp.global<f32>"""
    return kernel(parse, "%x: !warp.global<f32>, %y: !warp.global<f32>, %m: i32, %n: i32, %s: i32", body)


def matrix(rows: int, columns: int) -> GlobalBuffer:
    return GlobalBuffer.of_array("x", np.arange(rows * columns, dtype=np.float32))


def run(op: warp.KernelOp, given: list[Argument], grid: int = 1) -> None:
    report = simulate_kernel(op, given, grid)
    check_complete(report, [buffer for buffer in given if isinstance(buffer, GlobalBuffer) and buffer.name == "y"])


def test_fragments_are_loaded_and_stored_inside_their_bounds(parse: Parse) -> None:
    x, y = matrix(19, 64), GlobalBuffer.poisoned("y", 19 * 60, np.float32)
    run(copy_kernel(parse), [x, y, 19, 60, 64], 3)
    np.testing.assert_array_equal(y.values().reshape(19, 60), x.values().reshape(19, 64)[:, :60])


def test_what_memory_refuses(parse: Parse) -> None:
    x, y = matrix(16, 64), GlobalBuffer.poisoned("y", 16 * 64, np.float32)
    with pytest.raises(
        PredecessorFault, match=r"@k, block 0 of 2, threads 0 to 127, warp.fragment_load: touched before"
    ):
        simulate_kernel(copy_kernel(parse, wait=""), [x, y, 16, 64, 64], 2)
    with pytest.raises(OutOfBoundsFault, match="touches x at element 1024 of 1024"):
        simulate_kernel(copy_kernel(parse), [x, y, 17, 64, 64], 3)
    with pytest.raises(MisalignedFault, match="moves 4 elements of x at once across a bound"):
        simulate_kernel(copy_kernel(parse), [x, y, 16, 63, 64], 2)
    with pytest.raises(MisalignedFault, match="not a multiple of 16 bytes"):
        simulate_kernel(copy_kernel(parse), [x, y, 14, 60, 62], 2)
    with pytest.raises(UninitialisedFault, match="reads z at element 0"):
        simulate_kernel(copy_kernel(parse), [GlobalBuffer.poisoned("z", 1024, np.float32), y, 16, 64, 64], 2)
    with pytest.raises(WriteTwiceFault, match="writes y, which is constant"):
        constant = GlobalBuffer.of_array("y", np.zeros(1024, np.float32), constant=True)
        simulate_kernel(copy_kernel(parse), [x, constant, 16, 64, 64], 2)
    with pytest.raises(WriteTwiceFault, match="64 of 1024 elements of y are not written, first 960"):
        run(copy_kernel(parse), [x, GlobalBuffer.poisoned("y", 1024, np.float32), 15, 64, 64], 2)
    with pytest.raises(RaceFault, match="reads x at element 512, which this launch writes"):
        shifted = GlobalBuffer("y", x.memory, 2048, 512, np.dtype(np.float32))
        simulate_kernel(copy_kernel(parse), [x, shifted, 16, 64, 64], 2, blocks=[0, 1])


def test_every_block_must_wait_for_its_predecessor(parse: Parse) -> None:
    with pytest.raises(PredecessorFault, match="completion is not transitive"):
        simulate_kernel(kernel(parse, "", "%b = warp.block_id"), [], 1)


ADDRESS = f"""
      warp.wait_predecessor
      %rows = warp.fragment_index "rows" {LAYOUT} : vector<1xi32>
      %r = warp.spread %rows "rows" {LAYOUT} : vector<1xi32> -> vector<4xi32>
      %cols = warp.fragment_index "cols" {LAYOUT} : vector<4xi32>
      %c = warp.spread %cols "cols" {LAYOUT} : vector<4xi32> -> vector<4xi32>
      %c0 = arith.constant 0 : i32
      %c8 = arith.constant 8 : i32
      %c64 = arith.constant 64 : i32
"""


def test_gather_fills_where_the_mask_is_off(parse: Parse) -> None:
    body = (
        ADDRESS
        + f"""
      %w = arith.constant dense<64> : vector<4xi32>
      %t = warp.thread_id
      %limit = arith.constant 80 : i32
      %above = arith.cmpi slt, %t, %limit : i32
      %mask = vector.broadcast %above : i1 to vector<4xi1>
      %row = arith.muli %r, %w : vector<4xi32>
      %offset = arith.addi %row, %c : vector<4xi32>
      %fill = arith.constant -1.0 : f32
      %v = warp.gather %x[%offset] if %mask else %fill width 1 : !warp.global<f32>, vector<4xi32>, vector<4xi1>, f32 -> vector<4xf32>
      warp.fragment_store %v, %y[%c0, %c0] stride %c64 bounds [%c8, %c64] {LAYOUT} access 4 : vector<4xf32>, !warp.global<f32>"""
    )
    x, y = matrix(5, 64), GlobalBuffer.poisoned("y", 512, np.float32)
    run(kernel(parse, "%x: !warp.global<f32>, %y: !warp.global<f32>", body), [x, y])
    expected = np.full((8, 64), -1, np.float32)
    expected[:5] = x.values().reshape(5, 64)
    np.testing.assert_array_equal(y.values().reshape(8, 64), expected)


def test_division_by_magic_numbers_and_divergent_loops(parse: Parse) -> None:
    """Thread t adds up 0 .. t / d - 1, but threads whose sum is odd store its negative."""
    layout = "<blocked 2x64 threads 128 width 1>"
    body = f"""
      warp.wait_predecessor
      %c0 = arith.constant 0 : i32
      %c1 = arith.constant 1 : i32
      %c2 = arith.constant 2 : i32
      %c64 = arith.constant 64 : i32
      %t = warp.thread_id
      %q = warp.divide %t by (%mul, %shift) : i32
      %sum = scf.for %i = %c0 to %q step %c1 iter_args(%s = %c0) -> (i32) : i32 {{
        %n = arith.addi %s, %i : i32
        scf.yield %n : i32
      }}
      %bit = arith.andi %sum, %c1 : i32
      %odd = arith.cmpi eq, %bit, %c1 : i32
      %signed = scf.if %odd -> (i32) {{
        %m = arith.subi %c0, %sum : i32
        scf.yield %m : i32
      }} else {{
        scf.yield %sum : i32
      }}
      %f = arith.sitofp %signed : i32 to f32
      %v = vector.broadcast %f : f32 to vector<1xf32>
      warp.fragment_store %v, %y[%c0, %c0] stride %c64 bounds [%c2, %c64] {layout} access 1 : vector<1xf32>, !warp.global<f32>"""
    y = GlobalBuffer.poisoned("y", 128, np.float32)
    mul, shift = magic_number(7)
    given: list[Argument] = [y, mul - 2**32 if mul >= 2**31 else mul, shift]
    run(kernel(parse, "%y: !warp.global<f32>, %mul: i32, %shift: i32", body), given)
    sums = np.array([sum(range(t // 7)) for t in range(128)])
    np.testing.assert_array_equal(y.values(), np.where(sums % 2, -sums, sums).astype(np.float32))


def test_named_barriers_order_warpgroups(parse: Parse) -> None:
    op = kernel(
        parse, "", "warp.wait_predecessor\n warp.barrier 1 threads 256\n warp.barrier 1 threads 256", threads=256
    )
    assert simulate_kernel(op, [], 2).statistics.blocks == 2
    missing = kernel(parse, "", "warp.wait_predecessor\n warp.barrier 1 threads 384", threads=256)
    with pytest.raises(DeadlockFault, match="256 of 384 threads have arrived"):
        simulate_kernel(missing, [], 1)


def test_a_barrier_under_a_divergent_branch_is_refused(parse: Parse) -> None:
    body = """
      warp.wait_predecessor
      %c5 = arith.constant 5 : i32
      %t = warp.thread_id
      %few = arith.cmpi slt, %t, %c5 : i32
      scf.if %few {
        warp.barrier 1 threads 128
      }"""
    with pytest.raises(DivergenceFault, match="must be executed by whole warps; 5 threads are active"):
        simulate_kernel(kernel(parse, "", body), [], 1)
