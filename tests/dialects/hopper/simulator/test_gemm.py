"""A warp-specialised product in the hopper dialect: right in every order, every damage noticed, messages that name the place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i32

from stepwell.dialects import hopper, warp
from stepwell.dialects.hopper.simulator import (
    BarrierBytesFault,
    DeadlockFault,
    DescriptorFault,
    GlobalBuffer,
    PredecessorFault,
    TensorMap,
    check_complete,
    choose_blocks,
    judge,
    simulate_kernel,
)
from stepwell.dialects.hopper.simulator.launch import Argument
from stepwell.dialects.hopper.simulator.memory import Array
from stepwell.runtime.errors import UsageError

M, N, K = 200, 100, 448
Parse = Callable[[str], ModuleOp]


@pytest.fixture
def kernel(parse: Parse) -> warp.KernelOp:
    op = parse("gemm.mlir").body.block.first_op
    assert isinstance(op, warp.KernelOp)
    return op


def arguments() -> tuple[list[Argument], Array]:
    """Buffers and maps of small integers, and the product."""
    generator = np.random.default_rng(1)
    a, b = (generator.integers(-3, 4, (rows, K)).astype(np.float16) for rows in (M, N))
    bias = generator.integers(-9, 9, N).astype(np.float32)
    map_a = TensorMap(GlobalBuffer.of_array("a", a), (K, M), (2 * K,), (64, 128))
    map_b = TensorMap(GlobalBuffer.of_array("b", b, constant=True), (K, N), (2 * K,), (64, 64))
    bias_buffer = GlobalBuffer.of_array("bias", bias, constant=True)
    y = GlobalBuffer.poisoned("y", M * N, np.float32)
    return [map_a, map_b, bias_buffer, y, M, N, K // 64, 2], a.astype(np.float32) @ b.astype(np.float32).T + bias


def result(given: Sequence[Argument]) -> GlobalBuffer:
    assert isinstance(given[3], GlobalBuffer)
    return given[3]


def test_every_order_gives_the_product(kernel: warp.KernelOp) -> None:
    for seed in range(6):
        given, expected = arguments()
        report = simulate_kernel(kernel, given, 4, seed=seed)
        check_complete(report, [result(given)])
        np.testing.assert_array_equal(result(given).values().reshape(M, N), expected)
    assert report.statistics.copies == 4 * 2 * 7
    assert "4 of 4 blocks" in str(report) and "y 100 %" in str(report)


def test_chosen_blocks_write_their_tiles_only(kernel: warp.KernelOp) -> None:
    given, expected = arguments()
    report = simulate_kernel(kernel, given, 4, blocks="last")
    written = result(given).written().reshape(M, N)
    assert report.blocks == (3,)
    assert written[128:, 64:].all() and not written[:128].any() and not written[:, :64].any()
    np.testing.assert_array_equal(result(given).values().reshape(M, N)[written], expected[written])


def test_every_damage_is_noticed(kernel: warp.KernelOp) -> None:
    given, _ = arguments()

    def run(damaged: warp.KernelOp) -> list[Array]:
        mine = copy.deepcopy(given)
        check_complete(simulate_kernel(damaged, mine, 4, seed=2), [result(mine)])
        return [result(mine).values()]

    judged = judge(kernel, run)
    assert not [mutant.name for mutant in judged if not mutant.caught]
    caught = {mutant.name: mutant.caught for mutant in judged}
    assert len(caught) >= 20
    assert caught["release slot early"] == caught["drop running product wait"] == "race"
    assert caught["expect too few bytes"] == "barrier byte mismatch"
    assert caught["swap swizzle 0"] == "descriptor"


def test_a_deadlock_says_who_waits_on_what(kernel: warp.KernelOp) -> None:
    for op in list(kernel.walk()):
        if isinstance(op, hopper.ArriveOp):
            op.detach()
    with pytest.raises(DeadlockFault) as caught:
        simulate_kernel(kernel, arguments()[0], 4)
    text = str(caught.value)
    assert text.startswith("@gemm, block 0 of 4: deadlock: ")
    assert "producer, waits in hopper.wait for parity 0 of the mbarrier at byte 73736" in text
    assert "consumer 1, waits in hopper.wait" in text
    assert "2 of 2 arrivals and 0 bytes missing" in text


def test_wrong_bytes_name_the_barrier(kernel: warp.KernelOp) -> None:
    op = next(op for op in kernel.walk() if isinstance(op, hopper.ExpectBytesOp))
    op.properties["bytes"] = IntegerAttr(16384, i32)
    with pytest.raises(
        BarrierBytesFault, match=r"completes with 16384 bytes while 8192 more bytes are in flight on it"
    ):
        simulate_kernel(kernel, arguments()[0], 4)


def test_early_reads_of_predecessors_are_named(kernel: warp.KernelOp) -> None:
    for op in list(kernel.walk()):
        if isinstance(op, warp.WaitPredecessorOp):
            op.detach()
    with pytest.raises(PredecessorFault, match=r"hopper.tma_load of a issued by producer touches a before"):
        simulate_kernel(kernel, arguments()[0], 4)


def test_a_map_that_the_kernel_does_not_rely_on_is_refused(kernel: warp.KernelOp) -> None:
    given, _ = arguments()
    given[0], given[1] = given[1], given[0]
    with pytest.raises(DescriptorFault, match="@gemm, argument 0: descriptor: the tensor map says"):
        simulate_kernel(kernel, given, 4)
    with pytest.raises(UsageError, match="takes 8 arguments"):
        simulate_kernel(kernel, given[:3], 4)


def test_blocks_are_chosen_by_words() -> None:
    assert choose_blocks("all", 3) == (0, 1, 2)
    assert choose_blocks("first,last,edge,4", 9) == (0, 4, 6, 7, 8)
    assert len(choose_blocks("random:2", 100, seed=1)) == 2
    assert choose_blocks([2, 1], 3) == (1, 2)
    with pytest.raises(UsageError, match="grid has 3 blocks"):
        choose_blocks([3], 3)
    with pytest.raises(UsageError, match="say all, first"):
        choose_blocks("middle", 3)
