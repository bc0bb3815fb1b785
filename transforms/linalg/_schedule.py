"""Which `#tile.config` a kernel gets: small cost models, one per target, from the extents alone. Constants are those of
docs and measurements named beside them; a tuner may override any choice by putting a config on the fusion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, prod

from stepwell.dialects.tile.config import REGISTERS_FOR_TILES, RING_ALIGNMENT, Config
from stepwell.types.targets import MACHINES, SM_90A

L2_BYTES_PER_NS = 56  # of one multiprocessor: 64-channel 3x3 layers reach 320 TFLOP/s at 43 FLOP per byte
FLOP_PER_NS = {2: 5500, 4: 2800}  # of one multiprocessor: 728 and 372 TFLOP/s, measured GEMM ceilings for f16 and tf32
ONE_CONSUMER = 0.7  # one warpgroup does not keep the tensor core busy while it waits for its own accumulators
MEMORY_BYTES_PER_NS = 3000  # of the device: 3.0 TB/s copies
LOAD_NS = 700  # from the issue of a TMA load to its arrival; a ring of n stages hides it over n steps
CLOSE = 1.05
BLOCK_NS = 1500  # start of a block: barriers, descriptors, first loads
MAX_STAGES = 4
SWIZZLES = (128, 64, 32)
COLUMNS = (8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256)
SIMT_TILE = (512, 2048)  # least and most elements of a block without mma: 4 and 16 for each of 128 threads
SIMT_BLOCKS = 4  # per multiprocessor, before threads get more elements (measured: pools of 32 k to 256 k elements
# take a quarter to a half of the time in blocks of 512, a stem of 4 M elements 0.6 of it in blocks of 2048)
SIMT_WARPS = 4


@dataclass(frozen=True)
class Extents:
    """What a matrix product is to a schedule: its extents, the bytes of an operand's element, and tiles that the
    epilogue reads."""

    m: int
    n: int
    taps: int
    k: int
    element_size: int
    residuals: int = 0


def _round_up(value: int, multiple: int) -> int:
    return ceil(value / multiple) * multiple


def swizzle_for(k: int, element_size: int) -> int:
    """Bytes of a row of a stage: the widest swizzle among those that pad the channels least."""
    row = k * element_size
    return min(SWIZZLES, key=lambda swizzle: (_round_up(row, swizzle), -swizzle))


def wgmma_candidates(extents: Extents) -> Iterator[tuple[float, Config]]:
    """Estimated nanoseconds and config of every tile shape that is legal on sm_90a."""
    swizzle = swizzle_for(extents.k, extents.element_size)
    k = swizzle // extents.element_size
    widest = min((columns for columns in COLUMNS if columns >= extents.n), default=COLUMNS[-1])
    for rows in (64, 128):
        for columns in COLUMNS:
            stage = (rows + columns) * swizzle
            stages = min(MAX_STAGES, (SM_90A.shared_bytes - RING_ALIGNMENT) // stage)
            registers = (1 + extents.residuals) * columns / 2 + columns / 4
            if stages < 2 or registers > REGISTERS_FOR_TILES or columns > widest:
                continue
            config = Config(
                block=(rows, columns),
                k=k,
                stages=stages,
                warps=12 if rows == 128 else 8,
                mma="wgmma",
                swizzle=swizzle,
            )
            yield wgmma_nanoseconds(extents, config), config


def wgmma_nanoseconds(extents: Extents, config: Config) -> float:
    """Waves of blocks, each step bound by tensor cores, by the traffic from L2 or by latency, and an epilogue bound by
    memory."""
    rows, columns = config.block
    tiles = ceil(extents.m / rows) * ceil(extents.n / columns)
    steps = extents.taps * ceil(extents.k / config.k)
    rate = FLOP_PER_NS[extents.element_size] * (1 if config.consumers > 1 else ONE_CONSUMER)
    compute = 2 * rows * columns * config.k / rate
    traffic = (rows + columns) * config.swizzle / L2_BYTES_PER_NS
    step = max(compute, traffic, LOAD_NS / config.stages)
    rate = min(L2_BYTES_PER_NS, MEMORY_BYTES_PER_NS / min(tiles, SM_90A.multiprocessors))
    epilogue = rows * columns * extents.element_size * (1 + extents.residuals) / rate
    return ceil(tiles / SM_90A.multiprocessors) * (steps * step + epilogue + BLOCK_NS)


def wgmma_config(extents: Extents, copy: str) -> Config:
    """The largest tile among the candidates that cost at most `CLOSE` more than the cheapest: it leaves more of L2 to
    others, and larger tiles make fewer different kernels."""
    candidates = list(wgmma_candidates(extents))
    limit = CLOSE * min(cost for cost, _ in candidates)
    close = [entry for entry in candidates if entry[0] <= limit]
    _, config = min(close, key=lambda entry: (-prod(entry[1].block), entry[0]))
    return replace(config, copy=copy)


X86_PANELS: dict[str, dict[int, tuple[int, float]]] = {
    "x86-64-v4": {64: (6, 1.0), 48: (8, 0.95), 32: (12, 0.85), 16: (12, 0.6)},
    "x86-64-v3": {24: (4, 1.0), 16: (6, 0.95), 8: (6, 0.6)},
}
"""Columns of a panel -> rows and relative speed of the micro-kernel whose accumulators fill the register file; more
than 12 rows spill the row pointers out of the general registers (measured)."""


def fma_config(extents: Extents, target: str, copy: str) -> Config:
    """The micro-kernel that wastes least on padded columns."""
    table = X86_PANELS[target]

    def cost(panel: int) -> float:
        return _round_up(extents.n, panel) / table[panel][1]

    panel = min(table, key=cost)
    return Config(block=(min(table[panel][0], extents.m), panel), copy=copy, mma="fma")


def vector_config(target: str, shape: tuple[int, ...], copy: str, element_size: int = 4) -> Config:
    """A block for a kernel without mma: rows of whole vectors along the last dim, other dims one at a time. On the CPU
    elements of 8 bytes (those of a reduction's sums) halve the columns, so that the registers hold them."""
    rows, columns = shape[-2:]
    if target == "sm_90a":
        width = min(32, max(4, 1 << (columns - 1).bit_length()))
        least, most = SIMT_TILE
        even = 1 << (prod(shape) // (SM_90A.multiprocessors * SIMT_BLOCKS)).bit_length()
        block = (min(min(max(even, least), most) // width, max(1, 1 << (rows - 1).bit_length())), width)
        return Config(block=(*(1,) * (len(shape) - 2), *block), warps=SIMT_WARPS, copy="direct")
    lanes, most = MACHINES[target].vector_bytes // 4, 64 if target == "x86-64-v4" else 32
    most = most // 2 if element_size > 4 else most
    width = min(most, _round_up(columns, lanes))
    block = (min(rows, 4 if target == "x86-64-v4" else 2), width)
    return Config(block=(*(1,) * (len(shape) - 2), *block), copy=copy)


LOOPS_WORK = 16384  # steps of a tile of loops: long enough beside the microsecond of taking it, short enough to share


def loops_config(steps: int, target: str) -> Config:
    """Elements of a tile of loops whose elements take so many steps; on sm_90a a thread for each."""
    if target == "sm_90a":
        return Config(block=(32 * SIMT_WARPS,), form="loops")
    return Config(block=(max(1, min(1024, LOOPS_WORK // max(1, steps))),), form="loops")
