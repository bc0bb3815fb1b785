"""Rows that are folded: reductions over one set of dims, one after the other, with elementwise work before, between and behind them. Softmax,
normalisation, sums over any dims, positions of extremes. A block has the reduced dims whole."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from xdsl.dialects.linalg.ops import GenericOp

from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile.config import Config
from stepwell.dialects.tile.config import violations as rules
from stepwell.passes import PassFailure
from stepwell.transforms.linalg._rows import Rows, rows_of
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg.families.base import Candidate, Family, Setting, round_up
from stepwell.transforms.linalg.families.rates import RATES
from stepwell.transforms.linalg_to_tile.rows import grid_groups
from stepwell.transforms.linalg_to_tile.write_rows import write_rows
from stepwell.transforms.linalg_to_tile.written import Written
from stepwell.transforms.tensors import element_of, shape_of

CPU_VECTORS = 4
"""Of 4-byte elements in a chunk: so many sums side by side hide an addition's latency."""


def refusals(stages: Stages, setting: Setting) -> Iterator[str]:
    """Why the stages are no rows that are folded."""
    try:
        structure = rows_of(stages.fusion)
    except PassFailure as failure:
        yield failure.message
        return
    if not all(structure.extents):
        yield "an extent is 0"
    if not setting.machine.vector_bytes:
        yield "rows are folded by kernels of a CPU only"


def candidates(stages: Stages, setting: Setting) -> Iterator[Candidate]:
    """One row at a time, in chunks of several vectors."""
    structure = rows_of(stages.fusion)
    groups, _, column = grid_groups(structure)
    config = _cpu_config(structure, setting)
    kept, folded = (structure.extent([loop for group in groups if structure.is_reduced(group) is one for loop in group]) for one in (False, True))  # fmt: skip
    across = "along" if structure.is_reduced(column) else "across"
    yield Candidate(
        FAMILY.name, _cpu_nanoseconds(structure, config, setting), config, f"{kept} rows of {folded} elements, vectors {across} them"
    )  # fmt: skip


def _cpu_config(structure: Rows, setting: Setting) -> Config:
    groups, _, column = grid_groups(structure)
    lanes = setting.machine.vector_bytes // 4
    widest = max(element_bytes(element_of(value)) for value in structure.loops)
    width = min(CPU_VECTORS * lanes // (2 if widest > 4 else 1), round_up(structure.extent(column), lanes))
    block = [0 if structure.is_reduced(group) else 1 for group in groups]
    if structure.is_reduced(column):
        return Config(block=tuple(block), k=width)
    return Config(block=(*block[:-1], width))


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
    try:
        write(stages, config, "kernel", setting.processor)
    except PassFailure as failure:
        return failure.message
    return ""


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
