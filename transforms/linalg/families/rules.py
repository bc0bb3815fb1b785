"""Rules for a config of a tile kernel that is given by hand, the same in every family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from stepwell.dialects.tile import Config
from stepwell.dialects.tile.config import Facts, violations
from stepwell.passes import PassFailure
from stepwell.transforms.linalg._accesses import is_plain
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg._structure import Structure
from stepwell.transforms.linalg.families.base import Setting
from stepwell.transforms.linalg_to_tile.kernel_plan import tile_refusal
from stepwell.transforms.linalg_to_tile.write_tiles import write_tiles
from stepwell.transforms.linalg_to_tile.written import Written


def shapeless(stages: Stages) -> Iterator[str]:
    """Why the stages have no kernel of tiles in any family: not one root, or nothing to compute."""
    if stages.structure is None:
        yield stages.refusal
    elif not all(stages.structure.extents):
        yield "an extent is 0"
    elif any(access.converted is not None for access in stages.structure.operands):
        yield "an operand of its root is converted on the way: only products of the tensor cores take such"


def kernel_shape(structure: Structure) -> tuple[int, ...]:
    """The extents of the kernel's output ref: one per group of loops, two at least."""
    shape = tuple(structure.extent(group) for group in structure.groups())
    return shape if len(shape) > 1 else (1, *shape) if shape else (1, 1)


def is_vectors(structure: Structure) -> bool:
    """Whether every operand is dense, so that no row pointers are needed."""
    return not structure.operands or is_plain(structure)


def vector_copy(structure: Structure) -> str:
    """How a kernel of the CPU fetches its operands."""
    return "direct" if is_vectors(structure) else "pointer_table"


def whole(stages: Stages, config: Config) -> bool:
    """Whether the block has an extent for each dim that the kernel writes."""
    return stages.structure is not None and len(config.block) == len(kernel_shape(stages.structure))


def block_and_rules(
    stages: Stages, config: Config, setting: Setting, facts: Facts, copies: Sequence[str]
) -> Iterator[str]:
    """Why a config does not fit the kernel's dims, the target's rules or the operands; `copies`: the ways to fetch these operands."""
    if stages.structure is None:
        yield stages.refusal
        return
    shape = kernel_shape(stages.structure)
    if len(config.block) != len(shape):
        yield f"block = {list(config.block)} has {len(config.block)} extents, the kernel writes {len(shape)} dims"
        return
    yield from violations(config, setting.processor, facts)
    if config.copy not in copies:
        yield f"copy = {config.copy}: this kernel's operands are read with copy = {' or '.join(copies)}"


def tiles_refusal(stages: Stages, config: Config, setting: Setting) -> str:
    """Why the target has no kernel of tiles with this config, found by building it; empty where it has one."""
    return tile_refusal(stages.single, config, setting.processor)


def built_refusal(
    build: Callable[[Stages, Config, str, str | None], object], stages: Stages, config: Config, setting: Setting
) -> str:
    """Why a family's kernel cannot be had, found by writing it; empty where it can."""
    try:
        build(stages, config, "kernel", setting.processor)
    except PassFailure as failure:
        return failure.message
    return ""


def write(stages: Stages, config: Config, name: str, target: str | None) -> Written:
    """The kernel of tiles of one root."""
    return write_tiles(stages.single, config, name, target)
