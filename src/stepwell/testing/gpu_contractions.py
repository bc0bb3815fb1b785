"""Tile-level modules with one contraction kernel each, integer data and a NumPy reference: for lowerings, simulator and GPU alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from stepwell.dialects.weights import WeightStore

Array = np.ndarray
Epilogue = Callable[[Array], Array]

GELU = (
    # x * (0.5 + x * p(x^2) / q(x^2)) on a clamped x: the shape of an expanded gelu, with small made-up coefficients
    """
        %g_lo = arith.constant -2.0 : f32
        %g_hi = arith.constant 2.0 : f32
        %g_x0 = arith.maximumf {0}, %g_lo : f32
        %g_x = arith.minimumf %g_x0, %g_hi : f32
        %g_x2 = arith.mulf %g_x, %g_x : f32
        %g_a = arith.constant 0.25 : f32
        %g_b = arith.constant 0.125 : f32
        %p0 = math.fma %g_x2, %g_a, %g_b : f32
        %p1 = math.fma %g_x2, %p0, %g_a : f32
        %p2 = math.fma %g_x2, %p1, %g_b : f32
        %p3 = math.fma %g_x2, %p2, %g_a : f32
        %p4 = math.fma %g_x2, %p3, %g_b : f32
        %p5 = math.fma %g_x2, %p4, %g_a : f32
        %g_one = arith.constant 1.0 : f32
        %q0 = math.fma %g_x2, %g_b, %g_one : f32
        %q1 = math.fma %g_x2, %q0, %g_one : f32
        %q2 = math.fma %g_x2, %q1, %g_one : f32
        %q3 = math.fma %g_x2, %q2, %g_one : f32
        %g_xp = arith.mulf %g_x, %p5 : f32
        %g_erf = arith.divf %g_xp, %q3 : f32
        %g_half = arith.constant 0.5 : f32
        %g_s = arith.addf %g_erf, %g_half : f32
        %out = arith.mulf {0}, %g_s : f32
""",
    "%out",
)


def _gelu(value: Array) -> Array:
    x = np.clip(value, np.float32(-2), np.float32(2)).astype(np.float64)
    x2 = x * x
    p = np.full_like(x2, 0.25)
    for c in (0.125, 0.25, 0.125, 0.25, 0.125, 0.25):
        p = x2 * p + c
    q = np.full_like(x2, 0.125)
    for _ in range(4):
        q = x2 * q + 1
    return np.asarray(value * (x * p / q + 0.5), np.float32)


@dataclass
class Case:
    """One module, its weights and inputs, and what it should give; `rtol` 0 means bit for bit."""

    name: str
    text: str
    weights: WeightStore
    inputs: dict[str, Array]
    expected: Array
    rtol: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0
    tags: tuple[str, ...] = field(default=())


def numpy_of(element: str) -> type:
    """The NumPy type of an element type of operands."""
    return {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32}[element]


def integers(rng: np.random.Generator, shape: Sequence[int], dtype: type) -> Array:
    """Small whole numbers: sums of their products are exact in f32."""
    return rng.integers(-2, 3, shape).astype(dtype)


@dataclass(frozen=True)
class Schedule:
    """The config of a contraction kernel."""

    block: tuple[int, int] = (128, 64)
    stages: int = 4
    swizzle: int = 128
    order: str = "rows"

    def config(self, size: int, copy: str) -> str:
        """As `#tile.config`."""
        order = "" if self.order == "rows" else f"order = {self.order}, "
        rows, columns = self.block
        return (
            f"#tile.config<block = [{rows}, {columns}], k = {self.swizzle // size}, stages = {self.stages}, "
            f"warps = {4 + rows // 16}, {order}copy = {copy}, mma = wgmma, swizzle = {self.swizzle}>"
        )


@dataclass(frozen=True)
class Ending:
    """An epilogue: bias (always), a residual, and relu, gelu or nothing."""

    kind: str = "relu"
    residual: bool = False

    def text(self, operand: str, output: str) -> str:
        """The body of the tile.map on %p (accumulator), %q (bias) and %s (residual)."""
        lines = ["%sum = arith.addf %p, %q : f32"]
        value = "%sum"
        if self.residual:
            lines += [f"%wide = arith.extf %s : {operand} to f32"] if operand != "f32" else []
            lines += [f"%sum2 = arith.addf %sum, {'%wide' if operand != 'f32' else '%s'} : f32"]
            value = "%sum2"
        if self.kind == "relu":
            lines += ["%zero = arith.constant 0.0 : f32", f"%out = arith.maximumf {value}, %zero : f32"]
            value = "%out"
        if self.kind == "gelu":
            lines.append(GELU[0].replace("{0}", value))
            value = GELU[1]
        if output != "f32":
            lines.append(f"%half_out = arith.truncf {value} : f32 to {output}")
            value = "%half_out"
        return "\n        ".join([*lines, f"tile.yield {value}"])

    def apply(self, accumulator: Array, bias: Array, residual: Array | None) -> Array:
        """The same in NumPy."""
        value = accumulator + bias
        if residual is not None:
            value = value + residual.astype(np.float32)
        if self.kind == "gelu":
            return _gelu(value)
        return np.maximum(value, np.float32(0)) if self.kind == "relu" else value


def _kernel(schedule: Schedule, element: str, copy: str, ending: Ending) -> str:
    """A contraction kernel with bias and epilogue; operands and result have type `element`."""
    (bm, bn), size = schedule.block, np.dtype(numpy_of(element)).itemsize
    k = schedule.swizzle // size
    access = "window" if copy == "tma_im2col" else "plain"
    residual = f", %r: !tile.ref<2x{element}, plain>" if ending.residual else ""
    load = f"%rr = tile.load %r[%i, %j] : !tile.tile<{bm}x{bn}x{element}, regs>" if ending.residual else ""
    argument = ", %s = %rr" if ending.residual else ""
    full = f"!tile.tile<{bm}x{bn}xf32, regs>"
    return f"""
  tile.kernel @kernel(%x: !tile.ref<3x{element}, {access}>, %w: !tile.ref<3x{element}, packed, constant>, %b: !tile.ref<1xf32, plain, constant>{residual}) -> (%y: !tile.ref<2x{element}, plain>) config {schedule.config(size, copy)} {{
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [{bm}, {bn}] {{
      %z = tile.fill 0.0 : f32 -> {full}
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, {k}] iter (%c = %z) -> {full} {{
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<{bm}x{k}x{element}, ring>
        %bw = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<{bn}x{k}x{element}, ring>
        %d = tile.mma %a, %bw, %c
        tile.yield %d
      }}
      %bias = tile.load %b[%j] : !tile.tile<{bn}xf32, regs>
      %bb = tile.broadcast %bias dims [1] : {full}
      {load}
      %o = tile.map (%p = %acc, %q = %bb{argument}) {{
        {ending.text(element, element)}
      }} : !tile.tile<{bm}x{bn}x{element}, regs>
      tile.store %o, %y[%i, %j]
    }}
  }}"""


def module_text(kernels: str, main: str) -> str:
    return (
        f'builtin.module attributes {{stepwell.level = "tile", stepwell.target = "sm_90a"}} {{{kernels}\n{main}\n}}\n'
    )


def weight_text(store: WeightStore, name: str, array: Array) -> str:
    return str(store.add(name, array))


def finished(accumulator: Array, bias: Array, residual: Array | None, ending: Ending, dtype: type) -> Array:
    return ending.apply(accumulator, bias, residual).astype(dtype)


def gemm(
    name: str, m: int, n: int, k: int, element: str = "f16", schedule: Schedule = Schedule(), ending: Ending = Ending()
) -> Case:
    """y = epilogue(x w^T + b)."""
    rng, dtype = np.random.default_rng(m + n + k), numpy_of(element)
    x, w, b = (
        integers(rng, (m, k), dtype),
        integers(rng, (n, 1, k), dtype),
        integers(rng, (n,), np.float32),
    )
    store = WeightStore()
    inputs = {"x": x}
    residual = integers(rng, (m, n), dtype) if ending.residual else None
    if residual is not None:
        inputs["r"] = residual
    arguments = f'%x: tensor<{m}x{k}x{element}> {{stepwell.name = "x"}}'
    arguments += f', %r: tensor<{m}x{n}x{element}> {{stepwell.name = "r"}}' if ending.residual else ""
    extra, extra_type = (", %r", f", tensor<{m}x{n}x{element}>") if ending.residual else ("", "")
    y = f"tensor<{m}x{n}x{element}>"
    main = f"""
  func.func @main({arguments}) -> ({y} {{stepwell.name = "y"}}) {{
    %x3 = graph.reshape %x : tensor<{m}x{k}x{element}> -> tensor<{m}x1x{k}x{element}>
    %w = graph.weight {weight_text(store, "w", w)} : tensor<{n}x1x{k}x{element}>
    %b = graph.weight {weight_text(store, "b", b)} : tensor<{n}xf32>
    %y = tile.apply @kernel(%x3, %w, %b{extra}) : (tensor<{m}x1x{k}x{element}>, tensor<{n}x1x{k}x{element}>, tensor<{n}xf32>{extra_type}) -> {y}
    func.return %y : {y}
  }}"""
    accumulator = x.astype(np.float32) @ w[:, 0].astype(np.float32).T
    expected = finished(accumulator, b, residual, ending, dtype)
    moved = x.nbytes + w.nbytes + expected.nbytes + (0 if residual is None else residual.nbytes)
    rtol = 2e-3 if ending.kind == "gelu" else 0.0
    return Case(
        name,
        module_text(_kernel(schedule, element, "tma", ending), main),
        store,
        inputs,
        expected,
        rtol,
        2.0 * m * n * k,
        moved,
    )


@dataclass(frozen=True)
class Window:
    """Geometry of a two-dimensional window."""

    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilations: tuple[int, int] = (1, 1)

    def output(self, h: int, w: int) -> tuple[int, int]:
        """Output extents."""

        def one(x: int, d: int) -> int:
            reach = self.dilations[d] * (self.kernel[d] - 1) + 1
            return (x + self.pads[d] + self.pads[d + 2] - reach) // self.strides[d] + 1

        return one(h, 0), one(w, 1)

    def text(self, fill: str = "") -> str:
        """The clauses of tile.window."""
        return (
            f"kernel {list(self.kernel)} strides {list(self.strides)} pads {list(self.pads)} "
            f"dilations {list(self.dilations)}{fill}"
        )

    def taps(self, x: Array, fill: float = 0.0) -> Array:
        """[M, T, C] of an NHWC array."""
        n, h, w, c = x.shape
        oh, ow = self.output(h, w)
        top, left, bottom, right = self.pads
        held = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
        found = []
        for r in range(self.kernel[0]):
            for s in range(self.kernel[1]):
                y0, x0 = r * self.dilations[0], s * self.dilations[1]
                part = held[
                    :,
                    y0 : y0 + self.strides[0] * oh : self.strides[0],
                    x0 : x0 + self.strides[1] * ow : self.strides[1],
                ]
                found.append(part[:, :oh, :ow].reshape(n * oh * ow, c))
        return np.stack(found, axis=1)


THREE_BY_THREE = Window()
"""Stride one, padded by one."""


def conv(
    name: str,
    image: tuple[int, int, int, int],
    filters: int,
    window: Window = Window(),
    element: str = "f16",
    schedule: Schedule = Schedule(),
    ending: Ending = Ending(),
) -> Case:
    """A convolution of an NHWC image as implicit GEMM."""
    n, h, wd, c = image
    rng, dtype = np.random.default_rng(sum(image) + filters), numpy_of(element)
    x = integers(rng, image, dtype)
    taps = window.kernel[0] * window.kernel[1]
    w, b = integers(rng, (filters, taps, c), dtype), integers(rng, (filters,), np.float32)
    oh, ow = window.output(h, wd)
    m = n * oh * ow
    store, inputs = WeightStore(), {"x": x}
    residual = integers(rng, (m, filters), dtype) if ending.residual else None
    if residual is not None:
        inputs["r"] = residual
    y, view = f"tensor<{m}x{filters}x{element}>", f"!tile.view<{m}x{taps}x{c}x{element}>"
    arguments = f'%x: tensor<{n}x{h}x{wd}x{c}x{element}> {{stepwell.name = "x"}}'
    arguments += f', %r: {y} {{stepwell.name = "r"}}' if ending.residual else ""
    extra, extra_type = (", %r", f", {y}") if ending.residual else ("", "")
    main = f"""
  func.func @main({arguments}) -> ({y} {{stepwell.name = "y"}}) {{
    %v = tile.window %x {window.text()} : tensor<{n}x{h}x{wd}x{c}x{element}> -> {view}
    %w = graph.weight {weight_text(store, "w", w)} : tensor<{filters}x{taps}x{c}x{element}>
    %b = graph.weight {weight_text(store, "b", b)} : tensor<{filters}xf32>
    %y = tile.apply @kernel(%v, %w, %b{extra}) : ({view}, tensor<{filters}x{taps}x{c}x{element}>, tensor<{filters}xf32>{extra_type}) -> {y}
    func.return %y : {y}
  }}"""
    columns = window.taps(x).astype(np.float32).reshape(m, -1)
    expected = finished(columns @ w.astype(np.float32).reshape(filters, -1).T, b, residual, ending, dtype)
    moved = x.nbytes + w.nbytes + expected.nbytes + (0 if residual is None else residual.nbytes)
    kernel = _kernel(schedule, element, "tma_im2col", ending)
    flops = 2.0 * m * filters * taps * c
    rtol = 2e-3 if ending.kind == "gelu" else 0.0
    return Case(name, module_text(kernel, main), store, inputs, expected, rtol, flops, moved)
