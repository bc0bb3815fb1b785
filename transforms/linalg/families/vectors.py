"""Kernels without matrix instructions: blocks of rows of whole vectors along the last dim, held in registers. What `columns` and `elementwise`
share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import ceil, prod

from xdsl.dialects.builtin import FixedBitwidthType, TensorType
from xdsl.ir import SSAValue

from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile.config import Config, Facts
from stepwell.transforms.linalg._kinds import Map
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg._structure import Structure
from stepwell.transforms.linalg.families.base import Candidate, Family, Setting, round_up
from stepwell.transforms.linalg.families.rates import RATES
from stepwell.transforms.linalg.families.rules import (
    block_and_rules,
    kernel_shape,
    shapeless,
    tiles_refusal,
    vector_copy,
    write,
)
from stepwell.types.targets import SM_90A

SIMT_TILE = (512, 2048)  # least and most elements of a block without mma: 4 and 16 for each of 128 threads
SIMT_BLOCKS = 4  # per multiprocessor, before threads get more elements (measured: pools of 32 k to 256 k elements
# take a quarter to a half of the time in blocks of 512, a stem of 4 M elements 0.6 of it in blocks of 2048)
SIMT_WARPS = 4
SIMT_STEPS_PER_NS = (
    20  # of one multiprocessor: elements times steps of a reduction, the stem of the digit network in f16 at batch 1024
)
STEP_NS = 200  # a step of a reduction waits for its load
LAUNCH_NS = 1500
MEMORY_BYTES_PER_NS = 3000  # of the device: 3.0 TB/s copies


def vector_config(structure: Structure, setting: Setting) -> Config:
    """A block of rows of whole vectors along the last dim, other dims one at a time. On the CPU elements of 8 bytes (those of a reduction's sums)
    halve the columns, so that the registers hold them."""
    shape = kernel_shape(structure)
    rows, columns = shape[-2:]
    if not setting.machine.vector_bytes:
        width = min(32, max(4, 1 << (columns - 1).bit_length()))
        least, most = SIMT_TILE
        even = 1 << (prod(shape) // (SM_90A.multiprocessors * SIMT_BLOCKS)).bit_length()
        block = (min(min(max(even, least), most) // width, max(1, 1 << (rows - 1).bit_length())), width)
        return Config(block=(*(1,) * (len(shape) - 2), *block), warps=SIMT_WARPS, copy="direct")
    lanes = setting.machine.vector_bytes // 4
    widest = 4 * lanes // (2 if sum_size(structure) > 4 else 1)
    block = (min(rows, lanes // 4), min(widest, round_up(columns, lanes)))
    return Config(block=(*(1,) * (len(shape) - 2), *block), copy=vector_copy(structure))


def sum_size(structure: Structure) -> int:
    """Bytes of what a reduction carries; 4 without one."""
    if structure.root is None:
        return 4
    type_ = structure.root.res[0].type
    assert isinstance(type_, TensorType) and isinstance(type_.element_type, FixedBitwidthType)
    return type_.element_type.size


def vector_nanoseconds(stages: Stages, config: Config, setting: Setting) -> float:
    """Steps of the reduction and the epilogue's ops over all elements of whole blocks; on sm_90a bound by threads, by the latency of a step's load
    or by memory."""
    structure = stages.single
    shape = kernel_shape(structure)
    padded = prod(round_up(extent, block) for extent, block in zip(shape, config.block, strict=True))
    steps = max(1, structure.extent(structure.reductions))
    work = padded * (steps * (1 + len(structure.operands)) + epilogue_ops(stages))
    if setting.machine.vector_bytes:
        rates = RATES[setting.processor]
        return rates.nanoseconds(work / rates.elements)
    blocks = ceil(padded / prod(config.block))
    waves = ceil(blocks / (SM_90A.multiprocessors * SM_90A.max_threads // (32 * config.warps)))
    compute = padded * steps / (SIMT_STEPS_PER_NS * min(blocks, SM_90A.multiprocessors))
    return LAUNCH_NS + max(compute, waves * steps * STEP_NS, traffic(structure) / MEMORY_BYTES_PER_NS)


def traffic(structure: Structure) -> int:
    """Bytes of everything that is read and written once."""
    return sum(_bytes(access.value) for access in structure.accesses) + sum(map(_bytes, structure.fusion.outputs))


def _bytes(value: SSAValue) -> int:
    assert isinstance(value.type, TensorType)
    return prod(value.type.get_shape()) * element_bytes(value.type.element_type)


def epilogue_ops(stages: Stages) -> int:
    """Scalar ops, loads and stores for one element of the results."""
    maps = [stage for stage in stages.order if isinstance(stage, Map)]
    computed = sum(len(stage.op.body.block.ops) - 1 for stage in maps)
    return computed + len(stages.single.leaves) + len(stages.stores)


def vector_family(name: str, what: str, *, reduces: bool) -> Family:
    """A family of such kernels, with a reduction or without; `what` is said of those that were chosen."""
    refusals = partial(_refusals, reduces)
    violations = partial(_violations, reduces)
    return Family(
        name, refusals, partial(_candidates, name, what), tiles_refusal, partial(_takes, reduces), violations, write
    )


def _refusals(reduces: bool, stages: Stages, setting: Setting) -> Iterator[str]:
    yield from shapeless(stages)
    if stages.structure is not None and (stages.structure.root is not None) != reduces:
        yield "nothing is reduced" if reduces else "there is a reduction"


def _candidates(name: str, what: str, stages: Stages, setting: Setting) -> Iterator[Candidate]:
    """The block that the target's registers hold."""
    structure = stages.single
    config = vector_config(structure, setting)
    shape = " x ".join(map(str, kernel_shape(structure)))
    why = f"{what}, {shape} elements in vectors along the last dim"
    yield Candidate(name, vector_nanoseconds(stages, config, setting), config, why)


def _takes(reduces: bool, stages: Stages, config: Config) -> bool:
    plain = config.mma == "none" and config.form == "tiles" and not config.takes_whole
    return plain and stages.structure is not None and (stages.structure.root is not None) == reduces


def _violations(reduces: bool, stages: Stages, config: Config, setting: Setting) -> Iterator[str]:
    """Why a config does not fit; a kernel of the CPU may always read through a table of pointers."""
    reasons = list(_refusals(reduces, stages, setting))
    yield from reasons or block_and_rules(stages, config, setting, Facts(), (config.copy,))
