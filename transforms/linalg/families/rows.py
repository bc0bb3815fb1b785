"""Rows that are folded: reductions over one set of dims, one after the other, with elementwise work before, between and behind them. Softmax,
normalisation, sums over any dims, positions of extremes. A block has the reduced dims whole."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, prod

from xdsl.dialects.linalg.ops import GenericOp

from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile.config import Config
from stepwell.dialects.tile.config import violations as rules
from stepwell.passes import PassFailure
from stepwell.transforms.linalg._roles import reduction_loops
from stepwell.transforms.linalg._rows import Rows, rows_of
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg.families.base import Candidate, Family, Setting, round_up
from stepwell.transforms.linalg.families.rates import RATES
from stepwell.transforms.linalg.families.rules import built_refusal
from stepwell.transforms.linalg.families.vectors import LAUNCH_NS, MEMORY_BYTES_PER_NS
from stepwell.transforms.linalg_to_tile.rows import grid_groups
from stepwell.transforms.linalg_to_tile.write_rows import write_rows
from stepwell.transforms.linalg_to_tile.written import Written
from stepwell.transforms.tensors import element_of, shape_of
from stepwell.types.targets import SM_90A

CPU_VECTORS = 4
"""Of 4-byte elements in a chunk: so many sums side by side hide an addition's latency."""
GPU_WARPS = (4, 8, 16)
"""Of a block: a warp for each row, or several for a long one."""
GPU_HELD = 32
"""Elements of a row that a thread holds: a kernel has two or three tiles of them at a time."""
GPU_LEAST = 4
"""Elements of a thread that are worth it: one access of 16 bytes."""
GPU_CHUNKS, GPU_ACROSS = (1024, 512, 256), 32
"""Columns of a chunk of a row, the fewer the more operands there are, and of a tile whose columns are not reduced."""


def refusals(stages: Stages, setting: Setting) -> Iterator[str]:
    """Why the stages are no rows that are folded."""
    try:
        structure = rows_of(stages.fusion)
    except PassFailure as failure:
        yield failure.message
        return
    if not all(structure.extents):
        yield "an extent is 0"


def candidates(stages: Stages, setting: Setting) -> Iterator[Candidate]:
    """On a CPU one row at a time in chunks of several vectors; on sm_90a rows that registers hold, and rows in chunks."""
    structure = rows_of(stages.fusion)
    groups, _, column = grid_groups(structure)
    kept = structure.extent([loop for group in groups if not structure.is_reduced(group) for loop in group])
    folded = structure.extent([loop for group in groups if structure.is_reduced(group) for loop in group])
    across = "along" if structure.is_reduced(column) else "across"
    what = f"{kept} rows of {folded} elements, vectors {across} them"
    if setting.machine.vector_bytes:
        config = _cpu_config(structure, setting)
        yield Candidate(FAMILY.name, _cpu_nanoseconds(structure, config, setting), config, what)
        return
    for config in _gpu_configs(structure):
        held = "held in registers" if config.rows == "hold" else "in chunks"
        yield Candidate(FAMILY.name, _gpu_nanoseconds(structure, config), config, f"{what}, {held}")


def _cpu_config(structure: Rows, setting: Setting) -> Config:
    groups, _, column = grid_groups(structure)
    lanes = setting.machine.vector_bytes // 4
    widest = max(element_bytes(element_of(value)) for value in structure.loops)
    width = min(CPU_VECTORS * lanes // (2 if widest > 4 else 1), round_up(structure.extent(column), lanes))
    block = [0 if structure.is_reduced(group) else 1 for group in groups]
    if structure.is_reduced(column):
        return Config(block=tuple(block), k=width)
    return Config(block=(*block[:-1], width))


def _gpu_configs(structure: Rows) -> Iterator[Config]:
    """Blocks of whole warps, with as many elements for each thread as registers and the number of rows allow."""
    groups, row, column = grid_groups(structure)
    width, rows = _power(structure.extent(column)), _power(structure.extent(row))
    blocks = structure.extent([loop for group in groups if not structure.is_reduced(group) for loop in group])
    least = max(1, blocks // (SM_90A.multiprocessors * 2))
    if not structure.is_reduced(column):
        across = min(width, GPU_ACROSS)
        down = min(rows, max(1, 32 * GPU_WARPS[0] // across), _power(least))
        yield Config(block=_gpu_block(structure, down, across), warps=max(1, min(GPU_WARPS[0], down * across // 32)))
        return
    alone = [group for group in groups if structure.is_reduced(group)] == [column]
    for warps in GPU_WARPS:
        threads = 32 * warps
        down = _rows_down(rows, width, least, GPU_HELD * threads // 4)
        if alone and down * width <= GPU_HELD * threads and (warps == GPU_WARPS[0] or width > 32 * 32):
            yield Config(block=_gpu_block(structure, down, 0), k=width, warps=_warps(down * width, warps), rows="hold")
    for chunk in dict.fromkeys(min(width, chunk) for chunk in GPU_CHUNKS):
        down = _rows_down(rows, chunk, least, GPU_CHUNKS[0])
        yield Config(block=_gpu_block(structure, down, 0), k=chunk, warps=_warps(down * chunk, GPU_WARPS[0]))


def _rows_down(rows: int, width: int, least: int, elements: int) -> int:
    """Rows of a block: as many as fill one warp, and more while there are blocks for all multiprocessors, up to so many elements."""
    return min(rows, max(_power(least), 32 * GPU_LEAST // width, 1), max(1, elements // width))


def _warps(elements: int, most: int) -> int:
    """Warps that have `GPU_LEAST` elements for each thread."""
    return min(most, max(1, elements // (32 * GPU_LEAST)))


def _gpu_block(structure: Rows, down: int, across: int) -> tuple[int, ...]:
    """The block with so many rows, and of columns that are not reduced so many."""
    groups, row, column = grid_groups(structure)
    extents = {row: down, column: across} if across else {row: down}
    return tuple(0 if structure.is_reduced(group) else extents.get(group, 1) for group in groups)


def _power(extent: int) -> int:
    """The next power of two."""
    return 1 << max(0, extent - 1).bit_length()


def _gpu_nanoseconds(structure: Rows, config: Config) -> float:
    """Bound by memory, or by the part of it that few blocks or few threads ask for; a row in chunks is read again for each reduction from a cache."""
    groups, _, _ = grid_groups(structure)
    blocks = prod(
        ceil(structure.extent(group) / (step or structure.extent(group)))
        for group, step in zip(groups, config.block, strict=True)
    )
    values = [*structure.leaves, *structure.results]
    traffic = sum(prod(shape_of(value)) * element_bytes(element_of(value)) for value in values)
    again = 0 if config.rows == "hold" else sum(bool(reduction_loops(op)) for op in structure.generics)
    busy = min(1.0, blocks / SM_90A.multiprocessors) * min(
        1.0, 32 * config.warps * blocks / (SM_90A.multiprocessors * 512)
    )
    return LAUNCH_NS + traffic * (1 + again / 4) / (MEMORY_BYTES_PER_NS * max(busy, 1e-3))


def _cpu_nanoseconds(structure: Rows, config: Config, setting: Setting) -> float:
    """Loads, stores and scalar ops of all elements, those of an edge that is not there included."""
    column = structure.extent(structure.groups[-1])
    width = config.block[-1] or config.k
    padding = round_up(column, width) / max(1, column)
    work = sum(prod(shape_of(op.res[0])) * _ops(op) for op in structure.generics)
    work += sum(prod(shape_of(value)) for value in structure.leaves)
    rates = RATES[setting.processor]
    return rates.nanoseconds(work * padding / rates.elements)


def _ops(op: GenericOp) -> int:
    """Scalar ops for an element of the result: of a reduction those of all its steps."""
    steps = max(prod(shape_of(value)) for value in op.operands) // max(1, prod(shape_of(op.res[0])))
    return len(op.body.block.ops) * max(1, steps)


def check(stages: Stages, config: Config, setting: Setting) -> str:
    """Why the kernel cannot be had, found by building it."""
    return built_refusal(write, stages, config, setting)


def _takes(stages: Stages, config: Config) -> bool:
    return config.takes_whole


def violations(stages: Stages, config: Config, setting: Setting) -> Iterator[str]:
    """Why a config of rows does not fit."""
    reasons = [*refusals(stages, setting), *rules(config, setting.processor)]
    yield from reasons or filter(None, [check(stages, config, setting)])


def write(stages: Stages, config: Config, name: str, target: str | None) -> Written:
    """The kernel that folds rows."""
    return write_rows(rows_of(stages.fusion), config, name, target)


FAMILY = Family("rows", refusals, candidates, check, _takes, violations, write)
