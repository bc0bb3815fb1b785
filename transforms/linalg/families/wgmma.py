"""Products on the tensor cores of sm_90a: a ring of stages in shared memory, filled by TMA (im2col loads for windows), one consumer warpgroup
for each 64 rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from xdsl.dialects.builtin import Float32Type

from stepwell.dialects.tile.config import REGISTERS_FOR_TILES, RING_ALIGNMENT, Config, Facts
from stepwell.transforms.linalg._accesses import element, element_size, is_plain, is_weight
from stepwell.transforms.linalg._kinds import Access
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg._structure import Structure
from stepwell.transforms.linalg.families.base import Candidate, Family, Setting, round_up
from stepwell.transforms.linalg.families.products import Extents, product_extents, product_refusals
from stepwell.transforms.linalg.families.rules import block_and_rules, tiles_refusal, whole, write
from stepwell.types.elements import operands_of
from stepwell.types.targets import SM_90A

TMA_ROW_ALIGNMENT = 16
"""Bytes: strides of a tensor map are multiples of this (CUDA driver API, cuTensorMapEncode)."""
IM2COL_STRIDE = 8
"""Element strides of a tensor map (CUDA driver API, cuTensorMapEncodeIm2col)."""
IM2COL_OFFSETS = 255
"""Filter offsets of an im2col load of two spatial dims are below this; its corners lie in [-128, 127] (the same
source)."""
L2_BYTES_PER_NS = 56  # of one multiprocessor: 64-channel 3x3 layers reach 320 TFLOP/s at 43 FLOP per byte
FLOP_PER_NS = {
    1: 11000,
    2: 5500,
    4: 2800,
}  # of one multiprocessor: 728 and 372 TFLOP/s, measured GEMM ceilings for f16 and tf32; 8 bits by the data sheet
ONE_CONSUMER = 0.7  # one warpgroup does not keep the tensor core busy while it waits for its own accumulators
MEMORY_BYTES_PER_NS = 3000  # of the device: 3.0 TB/s copies
LOAD_NS = 700  # from the issue of a TMA load to its arrival; a ring of n stages hides it over n steps
CLOSE = 1.05  # a larger tile leaves more of L2 to others, and makes fewer different kernels
BLOCK_NS = 1500  # start of a block: barriers, descriptors, first loads
MAX_STAGES = 4
PACKED_ROWS, PACKED_COLUMNS = 64, 128
"""Of a tile whose left factor is packed: one warpgroup packs what one multiplies, and a third one fetches the right factor."""
SWIZZLES = (128, 64, 32)
COLUMNS = (8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256)


def refusals(stages: Stages, setting: Setting) -> Iterator[str]:
    """Why the stages are no product of the tensor cores."""
    if "wgmma" not in setting.machine.products:
        yield f"wgmma is an instruction of sm_90a, not of {setting.processor}"
        return
    if reasons := list(product_refusals(stages)):
        yield from reasons
        return
    structure = stages.single
    yield from _operands(structure, setting.tf32)
    yield from _converted(structure)
    yield from _epilogue(structure)
    if not is_plain(structure):
        yield from _im2col(structure, structure.operands[0])


def _operands(structure: Structure, tf32: bool) -> Iterator[str]:
    """What tensor maps and instructions say of the two factors."""
    roles, (a, b) = structure.roles, structure.operands
    assert roles is not None
    if not SM_90A.multiplies(str(element(a)), "wgmma"):
        yield f"wgmma refused: {element(a)} operands: it takes {', '.join(row.name for row in operands_of('wgmma').values())}"
    if isinstance(element(a), Float32Type) and not tf32:
        yield "wgmma refused: f32 operands would be rounded to tf32 and tf32 = false"
    row = structure.extent(roles.k) * element_size(a)
    if row % TMA_ROW_ALIGNMENT:
        yield f"wgmma refused: channel rows of {row} bytes are not a multiple of {TMA_ROW_ALIGNMENT}"
    if not is_weight(structure, b) and b.loops != (*roles.batch, *roles.n, *roles.window, *roles.k):
        yield "wgmma refused: the right factor is not a weight and not K-major"


def _converted(structure: Structure) -> Iterator[str]:
    """Of what is converted on the way a role packs rows of a dense left factor."""
    roles, (a, b) = structure.roles, structure.operands
    assert roles is not None
    if b.converted is not None:
        yield "wgmma refused: the right factor is converted on the way: a role packs left factors"
    if a.converted is not None and (roles.batch or a.window is not None or not is_weight(structure, b)):
        yield "wgmma refused: the left factor is converted on the way, and in batches, a window, or beside a factor that is no weight"


def _epilogue(structure: Structure) -> Iterator[str]:
    """What is read after the product: the block, a vector along its rows or columns, one element."""
    roles = structure.roles
    assert roles is not None
    taken = (structure.out, roles.m, roles.n, ())
    if any(access.loops not in taken for access in structure.leaves):
        yield "wgmma refused: the epilogue reads an operand that is neither the result's shape nor a row, a column or one element for all"


def _im2col(structure: Structure, a: Access) -> Iterator[str]:
    assert a.window is not None
    slides, pads = a.window.slides, a.window.pads
    if len(slides) != 2:
        yield f"wgmma refused: a window over {len(slides)} spatial dims, im2col loads have 2"
        return
    if a.window.fill is not None and a.window.fill.value.data != 0:
        yield "wgmma refused: im2col loads fill with zeros"
    for d, slide in enumerate(slides):
        if slide.stride > IM2COL_STRIDE:
            yield f"wgmma refused: a window of stride {slide.stride}, im2col loads step by at most {IM2COL_STRIDE}"
        reach = (structure.extents[slide.tap] - 1) * slide.dilation
        if reach >= IM2COL_OFFSETS or not -128 <= pads[2 + d] - reach <= 127 or pads[d] > 128:
            yield f"wgmma refused: filter offsets of {reach} with pads {list(pads)} are beyond those of an im2col load"


def candidates(stages: Stages, setting: Setting) -> Iterator[Candidate]:
    """Every tile shape that shared memory and registers hold."""
    structure = stages.single
    extents, copy = product_extents(structure), _copy(structure)
    leading = (1,) if structure.roles is not None and structure.roles.batch else ()
    for made in configs(extents, copy):
        if copy == "pack" and (made.block[0] != PACKED_ROWS or made.block[1] > PACKED_COLUMNS):
            continue
        config = replace(made, block=(*leading, *made.block))
        tiles = tiles_of(extents, config)
        why = f"{extents}: {tiles} tiles on {SM_90A.multiprocessors} multiprocessors, {config.swizzle} bytes of channels a step"
        yield Candidate(FAMILY.name, nanoseconds(extents, config), config, why)


def _copy(structure: Structure) -> str:
    if structure.operands[0].converted is not None:
        return "pack"
    return "tma" if is_plain(structure) else "tma_im2col"


def swizzle_for(k: int, element_size: int) -> int:
    """Bytes of a row of a stage: the widest swizzle among those that pad the channels least."""
    row = k * element_size
    return min(SWIZZLES, key=lambda swizzle: (round_up(row, swizzle), -swizzle))


def configs(extents: Extents, copy: str) -> Iterator[Config]:
    """Tiles of 64 and 128 rows, with as many stages as shared memory holds."""
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
            yield Config(
                block=(rows, columns),
                k=k,
                stages=stages,
                warps=12 if rows == 128 else 8,
                copy=copy,
                mma="wgmma",
                swizzle=swizzle,
            )


def tiles_of(extents: Extents, config: Config) -> int:
    """Tiles of all products."""
    rows, columns = config.block[-2:]
    return extents.batches * ceil(extents.m / rows) * ceil(extents.n / columns)


def nanoseconds(extents: Extents, config: Config) -> float:
    """Waves of blocks, each step bound by tensor cores, by the traffic from L2 or by latency, and an epilogue bound by
    memory."""
    rows, columns = config.block[-2:]
    tiles = tiles_of(extents, config)
    steps = extents.taps * ceil(extents.k / config.k)
    rate = FLOP_PER_NS[extents.element_size] * (1 if config.consumers > 1 else ONE_CONSUMER)
    compute = 2 * rows * columns * config.k / rate
    traffic = (rows + columns) * config.swizzle / L2_BYTES_PER_NS
    step = max(compute, traffic, LOAD_NS / config.stages)
    rate = min(L2_BYTES_PER_NS, MEMORY_BYTES_PER_NS / min(tiles, SM_90A.multiprocessors))
    epilogue = rows * columns * extents.element_size * (1 + extents.residuals) / rate
    return ceil(tiles / SM_90A.multiprocessors) * (steps * step + epilogue + BLOCK_NS)


def _takes(stages: Stages, config: Config) -> bool:
    return config.mma == "wgmma"


def violations(stages: Stages, config: Config, setting: Setting) -> Iterator[str]:
    """Why a config with mma = wgmma does not fit."""
    reasons = list(refusals(stages, setting))
    yield from reasons
    facts = Facts()
    if not reasons and whole(stages, config):
        size = element_size(stages.single.operands[0])
        facts = Facts(size, (config.block[-2] + config.block[-1]) * config.k * size)
    copies = (_copy(stages.single),) if not reasons else (config.copy,)
    yield from block_and_rules(stages, config, setting, facts, copies)


FAMILY = Family("wgmma", refusals, candidates, tiles_refusal, _takes, violations, write, CLOSE)
