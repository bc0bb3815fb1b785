"""Tile-level modules with one kernel without matrix product each (stem, pool, elementwise), and the list of small cases of every kind."""

from __future__ import annotations

import numpy as np

from stepwell.dialects.weights import WeightStore
from stepwell.testing.gpu_contractions import (
    THREE_BY_THREE,
    Case,
    Ending,
    Schedule,
    Window,
    conv,
    finished,
    gemm,
    integers,
    module_text,
    weight_text,
)


def stem(
    name: str, image: tuple[int, int, int, int], filters: int, window: Window = THREE_BY_THREE, element: str = "f32"
) -> Case:
    """A convolution with few input channels: no matrix product, weights [taps, channels, filters]."""
    n, h, wd, c = image
    rng, dtype = np.random.default_rng(sum(image)), np.float16 if element == "f16" else np.float32
    x = integers(rng, image, dtype)
    taps = window.kernel[0] * window.kernel[1]
    w, b = integers(rng, (taps, c, filters), dtype), integers(rng, (filters,), np.float32)
    m = n * int(np.prod(window.output(h, wd)))
    store = WeightStore()
    full, wide = "!tile.tile<64x32xf32, regs>", f"!tile.tile<64x32x{element}, regs>"
    product = "%p1 = arith.extf %p : f16 to f32\n%q1 = arith.extf %q : f16 to f32\n%m = arith.mulf %p1, %q1 : f32"
    plain = "%m = arith.mulf %p, %q : f32"
    kernel = f"""
  tile.kernel @kernel(%x: !tile.ref<3x{element}, window>, %w: !tile.ref<3x{element}, plain, constant>, %b: !tile.ref<1xf32, plain, constant>) -> (%y: !tile.ref<2x{element}, plain>) config #tile.config<block = [64, 32], warps = 4> {{
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [64, 32] {{
      %z = tile.fill 0.0 : f32 -> {full}
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 1] iter (%c = %z) -> {full} {{
        %a = tile.load %x[%i, %t, %k] dims = [0] : !tile.tile<64x{element}, regs>
        %ab = tile.broadcast %a dims [0] : {wide}
        %bw = tile.load %w[%t, %k, %j] dims = [2] : !tile.tile<32x{element}, regs>
        %bb = tile.broadcast %bw dims [1] : {wide}
        %d = tile.map (%p = %ab, %q = %bb, %s = %c) {{
          {product if element == "f16" else plain}
          %o = arith.addf %m, %s : f32
          tile.yield %o
        }} : {full}
        tile.yield %d
      }}
      %bias = tile.load %b[%j] : !tile.tile<32xf32, regs>
      %bb = tile.broadcast %bias dims [1] : {full}
      %o = tile.map (%p = %acc, %q = %bb) {{
        {Ending().text(element, element)}
      }} : {wide}
      tile.store %o, %y[%i, %j]
    }}
  }}"""
    view, y = f"!tile.view<{m}x{taps}x{c}x{element}>", f"tensor<{m}x{filters}x{element}>"
    main = f"""
  func.func @main(%x: tensor<{n}x{h}x{wd}x{c}x{element}> {{stepwell.name = "x"}}) -> ({y} {{stepwell.name = "y"}}) {{
    %v = tile.window %x {window.text()} : tensor<{n}x{h}x{wd}x{c}x{element}> -> {view}
    %w = graph.weight {weight_text(store, "w", w)} : tensor<{taps}x{c}x{filters}x{element}>
    %b = graph.weight {weight_text(store, "b", b)} : tensor<{filters}xf32>
    %y = tile.apply @kernel(%v, %w, %b) : ({view}, tensor<{taps}x{c}x{filters}x{element}>, tensor<{filters}xf32>) -> {y}
    func.return %y : {y}
  }}"""
    columns = window.taps(x).astype(np.float32).reshape(m, -1)
    expected = finished(columns @ w.astype(np.float32).reshape(-1, filters), b, None, Ending(), dtype)
    return Case(
        name,
        module_text(kernel, main),
        store,
        {"x": x},
        expected,
        0.0,
        2.0 * m * filters * taps * c,
        x.nbytes + expected.nbytes,
    )


def pool(name: str, image: tuple[int, int, int, int], window: Window, element: str = "f32") -> Case:
    """A max pool; padding never wins."""
    n, h, wd, c = image
    x = integers(np.random.default_rng(sum(image)), image, np.float16 if element == "f16" else np.float32)
    m, taps = n * int(np.prod(window.output(h, wd))), window.kernel[0] * window.kernel[1]
    low = "0xFC00" if element == "f16" else "0xFF800000"
    full = f"!tile.tile<64x32x{element}, regs>"
    kernel = f"""
  tile.kernel @kernel(%x: !tile.ref<3x{element}, window>) -> (%y: !tile.ref<2x{element}, plain>) config #tile.config<block = [64, 32], warps = 4> {{
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [64, 32] {{
      %z = tile.fill {low} : {element} -> {full}
      %acc = tile.for (%t) of %x dims [1] step [1] iter (%c = %z) -> {full} {{
        %a = tile.load %x[%i, %t, %j] dims = [0, 2] fill = {low} : {element} : {full}
        %d = tile.map (%p = %a, %s = %c) {{
          %o = arith.maximumf %p, %s : {element}
          tile.yield %o
        }} : {full}
        tile.yield %d
      }}
      tile.store %acc, %y[%i, %j]
    }}
  }}"""
    view, y = f"!tile.view<{m}x{taps}x{c}x{element}>", f"tensor<{m}x{c}x{element}>"
    main = f"""
  func.func @main(%x: tensor<{n}x{h}x{wd}x{c}x{element}> {{stepwell.name = "x"}}) -> ({y} {{stepwell.name = "y"}}) {{
    %v = tile.window %x {window.text(f" fill {low} : {element}")} : tensor<{n}x{h}x{wd}x{c}x{element}> -> {view}
    %y = tile.apply @kernel(%v) : ({view}) -> {y}
    func.return %y : {y}
  }}"""
    expected = window.taps(x, -np.inf).max(axis=1)
    return Case(
        name, module_text(kernel, main), WeightStore(), {"x": x}, expected, 0.0, 0.0, x.nbytes + expected.nbytes
    )


def elementwise(name: str, rows: int, columns: int, element: str = "f32") -> Case:
    """relu(x + b) with b along the columns."""
    rng, dtype = np.random.default_rng(rows), np.float16 if element == "f16" else np.float32
    x, b = integers(rng, (rows, columns), dtype), integers(rng, (columns,), np.float32)
    store = WeightStore()
    full = "!tile.tile<64x32xf32, regs>"
    kernel = f"""
  tile.kernel @kernel(%x: !tile.ref<2x{element}, plain>, %b: !tile.ref<1xf32, plain, constant>) -> (%y: !tile.ref<2x{element}, plain>) config #tile.config<block = [64, 32], warps = 4> {{
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [64, 32] {{
      %a = tile.load %x[%i, %j] : !tile.tile<64x32x{element}, regs>
      %bias = tile.load %b[%j] : !tile.tile<32xf32, regs>
      %bb = tile.broadcast %bias dims [1] : {full}
      %o = tile.map (%s = %a, %q = %bb) {{
        {"%p = arith.extf %s : f16 to f32" if element == "f16" else "%p = arith.addf %s, %s : f32"}
        {Ending().text(element, element)}
      }} : !tile.tile<64x32x{element}, regs>
      tile.store %o, %y[%i, %j]
    }}
  }}"""
    kind = f"tensor<{rows}x{columns}x{element}>"
    main = f"""
  func.func @main(%x: {kind} {{stepwell.name = "x"}}) -> ({kind} {{stepwell.name = "y"}}) {{
    %b = graph.weight {weight_text(store, "b", b)} : tensor<{columns}xf32>
    %y = tile.apply @kernel(%x, %b) : ({kind}, tensor<{columns}xf32>) -> {kind}
    func.return %y : {kind}
  }}"""
    value = x.astype(np.float32) * (1 if element == "f16" else 2)
    expected = Ending().apply(value, b, None).astype(dtype)
    return Case(name, module_text(kernel, main), store, {"x": x}, expected, 0.0, 0.0, 2.0 * x.nbytes)


def small_cases() -> list[Case]:
    """Shapes that a simulator runs in a moment, with every edge: rows, columns, channels, strides, dilation, swizzles, orders."""
    s, e = Schedule, Ending
    return [
        gemm("gemm_f16", 200, 72, 200, "f16"),
        gemm("gemm_f16_residual", 130, 64, 72, "f16", s((64, 64), 3), e("relu", True)),
        gemm("gemm_tf32", 150, 40, 100, "f32", s((128, 40)), e("relu", True)),
        gemm("gemm_n10", 128, 10, 64, "f32", s((64, 16), 2), e("none")),
        gemm("gemm_n10_f16", 100, 10, 64, "f16", s((64, 16)), e("none")),
        gemm("gemm_gelu", 128, 64, 64, "f16", s((128, 64)), e("gelu")),
        gemm("gemm_wide", 256, 512, 128, "f16", s((128, 256), 3, order="columns"), e("relu")),
        gemm("gemm_swizzle64", 100, 24, 96, "f16", s((64, 24), 3, 64)),
        gemm("gemm_swizzle32", 64, 8, 40, "f16", s((64, 8), 2, 32)),
        conv("conv_f16", (3, 8, 8, 64), 64),
        conv("conv_residual", (4, 8, 8, 64), 64, Window(), "f32", s(), e("relu", True)),
        conv("conv_stride", (3, 9, 11, 48), 40, Window((3, 3), (2, 2), (1, 1, 0, 1)), "f16", s((64, 40), 3, 32)),
        conv("conv_dilated", (2, 9, 7, 32), 24, Window((3, 2), (1, 2), (2, 1, 2, 1), (2, 2)), "f32", s((64, 24), 2)),
        conv("conv_gelu", (2, 5, 5, 64), 32, Window(), "f16", s((64, 32)), e("gelu", True)),
        stem("stem", (4, 8, 8, 1), 64),
        stem("stem_rgb_f16", (2, 9, 7, 3), 40, Window((3, 3), (2, 2)), "f16"),
        pool("pool", (3, 8, 8, 64), Window((2, 2), (2, 2), (0, 0, 0, 0))),
        pool("pool_f16", (2, 9, 7, 40), Window((3, 3), (2, 2)), "f16"),
        pool("pool_odd", (2, 5, 5, 10), Window((3, 3), (2, 2)), "f32"),
        elementwise("elementwise", 100, 40),
        elementwise("elementwise_f16_n10", 37, 10, "f16"),
    ]
