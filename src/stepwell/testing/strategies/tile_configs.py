"""Legal `#tile.config`s for a target: the ranges of the verifier's rules, drawn constructively."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from stepwell.dialects.tile.config import (
    REGISTERS_FOR_TILES,
    RING_ALIGNMENT,
    Config,
)
from stepwell.types.targets import COMPILED, MACHINES, SM_90A


@st.composite
def _wgmma(draw: DrawFn, element_size: int, window: bool, residuals: int) -> Config:
    """Warp-specialised kernels: registers hold the accumulator, its residuals and half an epilogue tile beside them."""
    consumers = draw(st.sampled_from([1, 2]))
    widest = min(256, int(REGISTERS_FOR_TILES / (0.75 + 0.5 * residuals)) // 8 * 8)
    columns = 8 * draw(st.integers(1, widest // 8))
    swizzle = draw(st.sampled_from([32, 64, 128]))
    rows = 64 * consumers
    deepest = min(6, (SM_90A.shared_bytes - RING_ALIGNMENT) // ((rows + columns) * swizzle))
    return Config(
        block=(rows, columns),
        k=swizzle // element_size,
        stages=draw(st.integers(2, deepest)),
        warps=4 * (consumers + 1),
        order=draw(st.sampled_from(["rows", "columns"])),
        copy="tma_im2col" if window else "tma",
        mma="wgmma",
        swizzle=swizzle,
    )


@st.composite
def _fma(draw: DrawFn, target: str, window: bool) -> Config:
    """CPU products: accumulators, one row of B and one broadcast element fit the vector registers."""
    registers, width = MACHINES[target].vector_registers, MACHINES[target].vector_bytes
    vectors = draw(st.integers(1, min(4, (registers - 1) // 2)))
    rows = draw(st.integers(1, (registers - 1 - vectors) // vectors))
    return Config(block=(min(rows, 12), vectors * width // 4), copy="pointer_table" if window else "direct", mma="fma")


@st.composite
def _plain(draw: DrawFn, target: str, window: bool) -> Config:
    """Kernels without a matrix product."""
    if target == "sm_90a":
        columns = draw(st.sampled_from([4, 8, 16, 32]))
        rows = draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
        return Config(block=(rows, columns), warps=draw(st.sampled_from([1, 2, 4, 8])))
    lanes = MACHINES[target].vector_bytes // 4
    block = (draw(st.integers(1, 4)), lanes * draw(st.integers(1, 2)))
    return Config(block=block, copy="pointer_table" if window else "direct")


def tile_configs(
    target: str | None = None,
    *,
    product: bool | None = None,
    element_size: int = 4,
    window: bool = False,
    residuals: int = 1,
) -> SearchStrategy[Config]:
    """Configs of blocks of two dims that are legal on `target` (any, when None). `product`: with a matrix instruction or without (None: both);
    `element_size` of its operands; `window`: operands are read through a window; `residuals`: whole tiles that the epilogue reads."""
    if target is None:
        return st.sampled_from(COMPILED).flatmap(
            lambda chosen: tile_configs(
                chosen, product=product, element_size=element_size, window=window, residuals=residuals
            )
        )
    matrix = _wgmma(element_size, window, residuals) if target == "sm_90a" else _fma(target, window)
    plain = _plain(target, window)
    return matrix if product else plain if product is False else st.one_of(matrix, plain)
