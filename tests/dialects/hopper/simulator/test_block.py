"""The machine under plain Python roles: a warp-specialised product with TMA, mbarriers and wgmma, right for every order and caught when damaged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from stepwell.dialects.hopper.simulator import faults
from stepwell.dialects.hopper.simulator.block import Block, Role, Statistics, Waiting
from stepwell.dialects.hopper.simulator.memory import Array, GlobalBuffer
from stepwell.dialects.hopper.simulator.tma import TensorMap
from stepwell.dialects.hopper.simulator.wgmma import Descriptor, Operand, fragment_map

M, N, K, STAGES = 128, 64, 256, 3
BYTES_A, BYTES_B = M * 128, N * 128
BARRIERS = STAGES * (BYTES_A + BYTES_B)


def integers(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float16)


def full(stage: int) -> int:
    return BARRIERS + 16 * stage


def empty(stage: int) -> int:
    return BARRIERS + 16 * stage + 8


def wait(block: Block, warps: range, address: int, parity: int) -> Iterator[Waiting]:
    first = warps[0]
    while True:
        yield Waiting(lambda: block.mbarriers.is_complete(first, address, parity), lambda: f"mbarrier {address}")
        if block.mbarriers.is_complete(first, address, parity):
            break
    for warp in warps:
        block.mbarriers.pass_wait(warp, address, parity)


def ring(tiles: int) -> Iterator[tuple[int, int, int]]:
    for tile in range(tiles):
        yield tile, tile % STAGES, tile // STAGES & 1


def gemm(a: Array, b: Array, *, seed: int = 0, fault: str = "") -> Array:
    """a [128, K] * b [64, K]^T by one producer warp and two consumer warpgroups."""
    threads = 384
    block = Block(0, threads, BARRIERS + 16 * STAGES, seed, Statistics())
    maps = [
        TensorMap(GlobalBuffer.of_array(name, x, constant=True), x.shape[::-1], (2 * x.shape[1],), (64, len(x)))
        for name, x in (("a", a), ("b", b))
    ]
    result = np.zeros((M, N), np.float32)
    tiles = a.shape[1] // 64

    def start(warps: range) -> Role:
        if warps[0] == 0:
            for stage in range(STAGES):
                block.mbarriers.init(0, full(stage), 1)
                block.mbarriers.init(0, empty(stage), 2)
            if fault != "no init fence":
                block.mbarriers.fence_init(0)
        if fault == "no block barrier":
            return
        generations = [block.named.arrive(warp, 0, 32, threads) for warp in warps]
        yield Waiting(lambda: block.named.is_open(0, generations[0]), lambda: "barrier 0")
        for warp in warps:
            block.named.pass_wait(warp, 0, generations[0])

    def producer(warps: range) -> Role:
        yield from start(warps)
        for tile, stage, phase in ring(tiles):
            if fault != "no empty wait":
                yield from wait(block, warps[:1], empty(stage), phase ^ 1)
            wrong = {"too few bytes": -BYTES_B, "too many bytes": 128}.get(fault, 0)
            block.mbarriers.arrive(0, full(stage), 1, BYTES_A + BYTES_B + wrong)
            for tensor, base in zip(maps, (stage * BYTES_A, STAGES * BYTES_A + stage * BYTES_B), strict=True):
                block.issue_load(0, tensor, (tile * 64, 0), (), base, full(stage), f"load of {tensor.buffer.name}")
        if fault == "stray copy":
            block.issue_load(0, maps[0], (0, 0), (), 0, full(0), "stray load")

    def consumer(group: int) -> Role:
        warps = range(4 * group, 4 * group + 4)
        yield from start(warps)
        registers = np.zeros((128, N // 2), np.float32)
        for tile, stage, phase in ring(tiles):
            if not (fault == "no full wait" and tile == 2):
                yield from wait(block, warps, full(stage), phase)
            first = Descriptor(stage * BYTES_A + (group - 1) * 8192, 16, 1024, 128)
            second = Descriptor(STAGES * BYTES_A + stage * BYTES_B, 16, 1024, 128)
            moves = (0, 32, 64, 96)
            operands = Operand(first, 64, "f16", moves=moves), Operand(second, N, "f16", moves=moves)
            registers = block.multiply(group, registers, *operands, f"product of group {group}")
            block.commit_products(group)
            if fault != "no product wait":
                block.wait_products(group, 0)
            if not (fault == "lost arrive" and group == 1 and tile == 1):
                block.mbarriers.arrive(warps[0], empty(stage), 1)
        rows, columns = fragment_map(N)
        result[(group - 1) * 64 + rows, columns] = registers

    roles = {"producer": producer(range(4)), "consumer 1": consumer(1), "consumer 2": consumer(2)}
    block.run(roles)
    return result


def test_every_order_gives_the_product() -> None:
    a, b = integers((M, K), 1), integers((N, K), 2)
    expected = a.astype(np.float32) @ b.astype(np.float32).T
    for seed in range(20):
        np.testing.assert_array_equal(gemm(a, b, seed=seed), expected)


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("no init fence", (faults.MissingFenceFault,)),
        ("no block barrier", (faults.BarrierFault, faults.MissingFenceFault)),
        ("no empty wait", (faults.RaceFault, faults.BarrierFault)),
        ("no full wait", (faults.RaceFault, faults.UninitialisedFault)),
        ("too few bytes", (faults.BarrierBytesFault,)),
        ("too many bytes", (faults.BarrierBytesFault,)),
        ("no product wait", (faults.RaceFault, faults.UnfinishedFault)),
        ("lost arrive", (faults.DeadlockFault, faults.UnfinishedFault)),
        ("stray copy", (faults.UnfinishedFault, faults.BarrierBytesFault, faults.RaceFault)),
    ],
)
def test_damage_is_caught_for_every_seed(fault: str, kinds: tuple[type[faults.Fault], ...]) -> None:
    a, b = integers((M, K), 1), integers((N, K), 2)
    for seed in range(10):
        with pytest.raises(kinds):
            gemm(a, b, seed=seed, fault=fault)
