"""Attention in one kernel on the tensor cores of sm_90a: blocks of queries go through blocks of keys with a running maximum and sum, so that no
score is stored. Operands of f16 come by TMA; others are converted on the way by a role that packs them."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, prod

from stepwell.dialects.tile.config import Config
from stepwell.dialects.tile.config import violations as rules
from stepwell.passes import PassFailure
from stepwell.transforms.attention import causal_offset, kernel_refusals, width_of
from stepwell.transforms.linalg._attention import Attention, attention_of, has_attention
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg.families.base import Candidate, Family, Setting
from stepwell.transforms.linalg.families.rules import built_refusal
from stepwell.transforms.linalg_to_tile.attention import write_attention
from stepwell.transforms.linalg_to_tile.written import Replacement
from stepwell.transforms.tensors import shape_of
from stepwell.types.targets import SM_90A

KEYS = 64
"""Keys of a block: rows of one warpgroup that packs them, and one swizzle of the scores' f16 row."""
FLOP_PER_NS = 2000  # of one multiprocessor, without overlap of products and softmax
BLOCK_NS = 2000
STAGES = 2
MOST_PACKED = 64 * 128
"""Rows times columns of a block whose operands are packed: a role that packs needs registers that wider accumulators would take from it."""


def refusals(stages: Stages, setting: Setting) -> Iterator[str]:
    """Why there is no kernel of attention."""
    if not has_attention(stages.fusion):
        yield "it is no attention"
        return
    if "wgmma" not in setting.machine.products:
        yield f"its products are wgmma of sm_90a, not of {setting.processor}"
        return
    try:
        yield from kernel_refusals(attention_of(stages.fusion).op)
    except PassFailure as failure:
        yield failure.message


def candidates(stages: Stages, setting: Setting) -> Iterator[Candidate]:
    """One or two warpgroups of 64 queries each."""
    attention = attention_of(stages.fusion)
    for rows in (64, 128):
        config = config_of(attention, rows)
        if config.copy == "pack" and rows * config.block[-1] > MOST_PACKED:
            continue
        queries = shape_of(attention.op.q)[2]
        why = f"{ceil(queries / rows)} blocks of {rows} queries, {KEYS} keys at a time"
        yield Candidate(FAMILY.name, nanoseconds(attention, config), config, why)


def config_of(attention: Attention, rows: int) -> Config:
    """The schedule of blocks of so many queries."""
    columns = width_of(shape_of(attention.op.v)[3])
    packed = attention.k.converted or attention.v.converted
    return Config(
        block=(1, rows, columns),
        k=KEYS,
        stages=STAGES,
        warps=4 + 4 * (rows // 64),
        mma="wgmma",
        swizzle=128,
        copy="pack" if packed else "tma",
    )


def nanoseconds(attention: Attention, config: Config) -> float:
    """Waves of blocks, each as long as its products."""
    batch, heads, queries, depth = shape_of(attention.op.q)
    keys, rows, columns = shape_of(attention.op.k)[2], config.block[-2], config.block[-1]
    blocks = batch * heads * ceil(queries / rows)
    seen = keys if causal_offset(attention.op) is None else (keys + KEYS) // 2
    flop = 2 * rows * seen * (width_of(depth) + columns) * (1 if rows > 64 else 1.3)
    return ceil(blocks / SM_90A.multiprocessors) * (BLOCK_NS + flop / FLOP_PER_NS)


def check(stages: Stages, config: Config, setting: Setting) -> str:
    """Why the kernel cannot be had, found by building it."""
    return built_refusal(write, stages, config, setting)


def takes(stages: Stages, config: Config) -> bool:
    """Whether a config is one of attention."""
    return has_attention(stages.fusion) and config.mma == "wgmma"


def violations(stages: Stages, config: Config, setting: Setting) -> Iterator[str]:
    """Why a config given by hand does not fit."""
    if reasons := list(refusals(stages, setting)):
        yield from reasons
        return
    yield from rules(config, setting.processor)
    attention = attention_of(stages.fusion)
    wanted = config_of(attention, 64)
    if len(config.block) != len(wanted.block) or config.block[-1] != wanted.block[-1] or prod(config.block[:-2]) != 1:
        yield f"block = {list(config.block)}: an attention writes one head, some rows and {wanted.block[-1]} columns: {list(wanted.block)}"
    if config.k != KEYS:
        yield f"k = {config.k}: blocks of {KEYS} keys are taken"
    if config.copy != wanted.copy:
        yield f"copy = {config.copy}: this kernel's operands are read with copy = {wanted.copy}"


def write(stages: Stages, config: Config, name: str, target: str | None) -> Replacement:
    """The kernel of a config."""
    return write_attention(attention_of(stages.fusion), config, name, target)


FAMILY = Family("attention", refusals, candidates, check, takes, violations, write, close=1.05)
