"""Tile kernels as machine code in a test: compile one for a CPU level, run it on arrays with guard bands, beside the tile interpreter.

    native = compiled(module_text); native.run([window, panels(w, 64), bias], [(m, n)])

Inputs are bound as the interpreter binds them: arrays, panels for packed weights, `stepwell.dialects.tile.refs.Window` for windows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.codegen.objects import compile_module
from stepwell.dialects import tile
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.dialects.plan import row_major
from stepwell.dialects.tile.refs import Window
from stepwell.passes import StepwellContext
from stepwell.plugins.universe import make_context
from stepwell.runtime.elf import Image
from stepwell.transforms.kernel_to_llvm.convert_kernel_to_llvm import ConvertKernelToLLVM
from stepwell.transforms.kernel_to_llvm.convert_scf_to_cf import ConvertScfToCf
from stepwell.transforms.tile.split_rows import SplitRowsPass
from stepwell.transforms.tile_to_cpu.convert_tile_to_cpu import ConvertTileToCPU
from stepwell.types.targets import CPU_LEVELS

GUARD = 64
"""Elements around an output, which must stay untouched."""


Inputs = Sequence[np.ndarray | Window]
Shapes = Sequence[tuple[int, ...]]
Guarded = tuple[np.ndarray, tuple[int, ...], tuple[int, ...]]
"""Memory with guards around it, shape and element strides of the output inside."""
_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


@dataclass(frozen=True)
class Call:
    """One launch that can be repeated: entry point, record, ranges of tiles, outputs with guards, and what must stay alive."""

    entry: Callable[[int, int, int], None]
    record: np.ndarray
    ranges: list[tuple[int, int]]
    outputs: list[Guarded]
    keep: list[np.ndarray]

    def __call__(self) -> np.ndarray:
        """Run it; a view of the first output."""
        address = self.record.ctypes.data
        for first, last in self.ranges:
            self.entry(address, first, last)
        return inside(*self.outputs[0])


@dataclass(frozen=True)
class Native:
    """A compiled kernel beside its tile-level original."""

    kernel: tile.KernelOp
    image: Image
    data: bytes

    def run(self, inputs: Inputs, shapes: Shapes, *, group: int = 7, pieces: Sequence[int] = (),
            strides: dict[int, Sequence[int]] | None = None) -> list[np.ndarray]:  # fmt: skip
        """Outputs of these shapes. `pieces`: tile numbers to cut the walk at; `strides`: element strides of an output's dims but the last, by
        number."""
        call = self.prepare(inputs, shapes, group=group, pieces=pieces, strides=strides)
        call()
        return [checked(*output) for output in call.outputs]

    def prepare(self, inputs: Inputs, shapes: Shapes, *, group: int = 7, pieces: Sequence[int] = (),
                strides: dict[int, Sequence[int]] | None = None) -> Call:  # fmt: skip
        """Everything that happens once: records, pointer tables and outputs."""
        keep: list[np.ndarray] = []
        slots: list[int] = []
        for ref, value in zip(self.kernel.inputs, inputs, strict=True):
            assert isinstance(ref.type, tile.RefType)
            slots += self._input(ref.type, value, keep)
        outputs: list[Guarded] = []
        for number, (ref, shape) in enumerate(zip(self.kernel.outputs, shapes, strict=True)):
            assert isinstance(ref.type, tile.RefType)
            steps = (*(strides or {}).get(number, row_major(shape)[:-1]), 1)
            memory = poisoned(2 * GUARD + 1 + sum((e - 1) * step for e, step in zip(shape, steps)), ref.type)
            outputs.append((memory, shape, steps))
            slots += [memory.ctypes.data + GUARD * memory.itemsize, *shape, *steps[:-1]]
        block = self.kernel.config.data.block
        blocks = (-(-extent // tile) for extent, tile in zip(shapes[0][-2:], block[-2:], strict=True))
        tiles = prod(shapes[0][:-2]) * prod(blocks)
        cuts = [0, *sorted(min(p, tiles) for p in pieces), tiles]
        entry = _ENTRY(self.image.address(self.kernel.sym_name.data))
        return Call(entry, np.array([*slots, group], np.int64), list(pairwise(cuts)), outputs, keep)

    def _input(self, ref: tile.RefType, value: np.ndarray | Window, keep: list[np.ndarray]) -> list[int]:
        if isinstance(value, Window):
            table = pointer_table(value, self.kernel.config.data.block[0], keep)
            return [table.ctypes.data, *value.extents]
        held = aligned(value)
        keep.append(held)
        if ref.access.panel:
            n, t, k, p = value.shape
            return [held.ctypes.data, n * p, t, k]
        strides = [s // value.itemsize for s in value.strides[:-1]]
        return [held.ctypes.data, *value.shape, *strides]


def poisoned(count: int, ref: tile.RefType) -> np.ndarray:
    """Memory for so many elements whose bytes are all 0xFF: NaN as a float."""
    dtype = numpy_dtype(ref.element_type)
    return np.full(count * dtype.itemsize, 0xFF, np.uint8).view(dtype)


def aligned(value: np.ndarray) -> np.ndarray:
    """A copy at a multiple of 64 bytes, as the constants of a plan are."""
    raw = np.zeros(value.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    held = raw[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
    held[...] = value
    return held


def inside(memory: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """The output between its guards."""
    return as_strided(memory[GUARD:], shape, [step * memory.itemsize for step in strides])


def checked(memory: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """A copy of the output; the guards and what lies between its rows must be untouched."""
    free = np.ones(memory.size, bool)
    as_strided(free[GUARD:], shape, strides)[...] = False
    assert (memory[free].view(np.uint8) == 0xFF).all()
    return inside(memory, shape, strides).copy()


def pointer_table(window: Window, rows: int, keep: list[np.ndarray]) -> np.ndarray:
    """[tile][tap][row] addresses; rows beyond M repeat the last one, padding points at a row of the fill."""
    x = np.ascontiguousarray(window.array)
    fill = np.full(x.shape[-1], window.fill, x.dtype)
    kernel, strides, pads, dilations = window.geometry
    m, taps, _ = window.extents
    pixel = np.minimum(np.arange(-(-m // rows) * rows), m - 1)
    n, oh, ow = np.unravel_index(pixel, (x.shape[0], *window.pixels))
    r, s = np.unravel_index(np.arange(taps), kernel)
    h = oh[:, None] * strides[0] - pads[0] + r * dilations[0]
    w = ow[:, None] * strides[1] - pads[1] + s * dilations[1]
    inside = (h >= 0) & (h < x.shape[1]) & (w >= 0) & (w < x.shape[2])
    address = x.ctypes.data + ((n[:, None] * x.shape[1] + h) * x.shape[2] + w) * x.shape[3] * x.itemsize
    table = np.where(inside, address, fill.ctypes.data).reshape(-1, rows, taps).transpose(0, 2, 1)
    table = np.ascontiguousarray(table, np.int64)
    keep += [x, fill, table]
    return table


def lowered(text: str, ctx: StepwellContext | None = None) -> ModuleOp:
    """The module at llvm level."""
    ctx = ctx or make_context()
    module = Parser(ctx, text).parse_module()
    module.verify()
    for step in (SplitRowsPass(), ConvertTileToCPU(), ConvertScfToCf(), ConvertKernelToLLVM()):
        step.apply(ctx, module)
        module.verify()
    return module


@lru_cache
def compiled(text: str) -> Native:
    """The one tile.kernel of a module, as machine code for the level in `stepwell.cpu`."""
    original = Parser(make_context(), text).parse_module()
    kernel = next(op for op in original.body.block.ops if isinstance(op, tile.KernelOp))
    level = CPU_LEVELS[original.attributes["stepwell.cpu"].data]  # type: ignore[attr-defined]
    data = compile_module(lowered(text), level).data
    return Native(kernel, Image(data), data)


def panels(w: np.ndarray, columns: int) -> np.ndarray:
    """Weights [N, T, K] as [N/P, T, K, P], the last panel filled up with zeros."""
    n, t, k = w.shape
    count = -(-n // columns)
    padded = np.zeros((count * columns, t, k), w.dtype)
    padded[:n] = w
    return np.ascontiguousarray(padded.reshape(count, columns, t, k).transpose(0, 2, 3, 1))
