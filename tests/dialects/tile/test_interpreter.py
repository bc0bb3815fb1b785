"""The tile interpreter against direct NumPy: windows, panels, 16-bit and integer elements, several results, poisoned outputs."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects.tile.interpreter import run_function
from stepwell.dialects.tile.refs import Output, Window, coordinates, read
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import InternalError, UsageError


def module_of(text: str) -> ModuleOp:
    module = parse_text(make_context(), text, SourceMap("test"))
    module.verify()
    return module


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """A channels-last shape with 1 to 3 spatial dims and a window that fits."""
    spatial = draw(st.integers(1, 3))

    def each(low: int, high: int, count: int = spatial) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(count))

    kernel, strides, dilations, pads = each(1, 3), each(1, 3), each(1, 2), each(0, 2, 2 * spatial)
    extents = tuple((k - 1) * d + 1 + extra for k, d, extra in zip(kernel, dilations, each(0, 4), strict=True))
    return (draw(st.integers(1, 3)), *extents, draw(st.integers(1, 3))), (kernel, strides, pads, dilations)


@given(windows())
@settings(max_examples=60, deadline=None)
def test_window_elements(case: tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]) -> None:
    shape, geometry = case
    kernel, strides, pads, dilations = geometry
    array = np.arange(1, prod(shape) + 1, dtype=np.float32).reshape(shape)
    window = Window(array, geometry, -1.0)
    m, t, c = window.extents
    got = read(window, np.ix_(np.arange(m + 1), np.arange(t), np.arange(c)), -1.0)
    assert np.all(got[m] == -1)
    for index in np.ndindex(shape[0], *window.pixels):
        for tap in np.ndindex(kernel):
            at = [
                o * s + r * d - p
                for o, s, r, d, p in zip(index[1:], strides, tap, dilations, pads[: len(kernel)], strict=True)
            ]
            inside = all(0 <= x < extent for x, extent in zip(at, shape[1:-1], strict=True))
            expected = array[(index[0], *at)] if inside else np.full(shape[-1], -1)
            row = np.ravel_multi_index(index, (shape[0], *window.pixels))
            assert np.array_equal(got[row, np.ravel_multi_index(tap, kernel)], expected)


def test_coordinates_of_many_indices() -> None:
    flat = np.arange(6 * 2000).reshape(2000, 1, 6)
    image, row, column = coordinates(flat, (200, 6, 10))
    assert np.array_equal((image * 6 + row) * 10 + column, flat)
    assert image.max() == 199 and row.max() == 5 and column.max() == 9


PRODUCT = """
builtin.module attributes {{stepwell.level = "tile"}} {{
  tile.kernel @k(%x: !tile.ref<3x{e}, plain>, %w: !tile.ref<3x{e}, packed<16>, constant>) -> (%y: !tile.ref<2x{acc}, plain>) config #tile.config<block = [4, 16], k = {k}, mma = fma> {{
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {{
      %z = tile.fill {zero} : {acc} -> !tile.tile<4x16x{acc}, regs>
      %a = tile.for (%t, %k) of %x dims [1, 2] step [1, {k}] iter (%c = %z) -> !tile.tile<4x16x{acc}, regs> {{
        %p = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<4x{k}x{e}, in_place>
        %q = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<16x{k}x{e}, packed>
        %d = tile.mma %p, %q, %c
        tile.yield %d
      }}
      tile.store %a, %y[%i, %j]
    }}
  }}
  func.func @main(%x: tensor<{m}x{t}x{c}x{e}>, %w: tensor<{panels}x{t}x{c}x16x{e}>) -> tensor<{m}x{n}x{acc}> {{
    %y = tile.apply @k(%x, %w) : (tensor<{m}x{t}x{c}x{e}>, tensor<{panels}x{t}x{c}x16x{e}>) -> tensor<{m}x{n}x{acc}>
    func.return %y : tensor<{m}x{n}x{acc}>
  }}
}}
"""


@pytest.mark.parametrize(("element", "total"), [("f32", "f32"), ("f16", "f32"), ("i8", "i32")])
@pytest.mark.parametrize(
    ("m", "t", "c", "n", "k"), [(1, 1, 1, 1, 1), (9, 2, 7, 20, 1), (8, 3, 8, 32, 4), (5, 1, 6, 3, 4)]
)
def test_product_with_panels(element: str, total: str, m: int, t: int, c: int, n: int, k: int) -> None:
    panels = -(-n // 16)
    zero = "0" if total == "i32" else "0.0"
    module = module_of(PRODUCT.format(e=element, acc=total, m=m, t=t, c=c, n=n, k=k, panels=panels, zero=zero))
    dtype = {"f32": np.float32, "f16": np.float16, "i8": np.int8}[element]
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (m, t, c)).astype(dtype)
    w = rng.integers(-3, 4, (16 * panels, t, c)).astype(dtype)
    packed = np.moveaxis(w.reshape(panels, 16, t, c), 1, -1)
    (y,) = run_function(module, [x, packed])
    expected = np.einsum("mtc,ntc->mn", x.astype(np.int64), w.astype(np.int64))[:, :n]
    assert y.dtype == (np.int32 if total == "i32" else np.float32)
    assert np.array_equal(y, expected)


ELEMENTWISE = """
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @k(%x: !tile.ref<3xf32, plain>, %s: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<3xf32, plain>, %z: !tile.ref<3xf32, plain>) config #tile.config<block = [1, 4, 8], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%b, %i, %j) of %y block [1, 4, 8] {
      %p = tile.load %x[%b, %j, %i] dims = [2, 1] fill = 7.0 : f32 : !tile.tile<4x8xf32, regs>
      %q = tile.load %s[%b, %j] dims = [1] : !tile.tile<8xf32, regs>
      %r = tile.broadcast %q dims [1] : !tile.tile<4x8xf32, regs>
      %o = tile.map (%u = %p, %v = %r) {
        %1 = arith.mulf %u, %v : f32
        tile.yield %1
      } : !tile.tile<4x8xf32, regs>
      tile.store %o, %y[%b, %i, %j] dims = [1, 2]
      tile.store %p, %z[%b, %i, %j] dims = [1, 2]
    }
  }
  func.func @main(%x: tensor<3x9x5xf32>, %s: tensor<3x9xf32>) -> (tensor<3x5x9xf32>, tensor<3x5x9xf32>) {
    %y, %z = tile.apply @k(%x, %s) : (tensor<3x9x5xf32>, tensor<3x9xf32>) -> (tensor<3x5x9xf32>, tensor<3x5x9xf32>)
    func.return %y, %z : tensor<3x5x9xf32>, tensor<3x5x9xf32>
  }
}
"""


def test_transposed_load_broadcast_and_two_results() -> None:
    rng = np.random.default_rng(1)
    x, s = rng.normal(size=(3, 9, 5)).astype(np.float32), rng.normal(size=(3, 9)).astype(np.float32)
    y, z = run_function(module_of(ELEMENTWISE), [x, s])
    assert np.array_equal(z, x.transpose(0, 2, 1))
    assert np.array_equal(y, x.transpose(0, 2, 1) * s[:, None])


def test_output_that_is_not_written_is_an_error() -> None:
    output = Output.poisoned((3, 2), np.dtype(np.float32))
    output.write([np.arange(2)[:, None], np.arange(2)[None]], np.ones((2, 2), np.float32))
    assert np.isnan(output.array[2]).all()
    with pytest.raises(InternalError, match=r"2 of 6 output elements .* the first is \[2, 0\], 0 times"):
        output.check("tile.kernel @k")


def test_output_that_is_written_twice_is_an_error() -> None:
    output = Output.poisoned((2, 2), np.dtype(np.int32))
    rows, columns = np.array([[0], [1], [1]]), np.array([[0, 1, 2]])
    output.write([rows, columns], np.ones((3, 3), np.int32))
    with pytest.raises(InternalError, match=r"the first is \[1, 0\], 2 times"):
        output.check("tile.kernel @k")


def test_function_that_is_missing() -> None:
    with pytest.raises(UsageError, match="no function @other"):
        run_function(module_of(ELEMENTWISE), [], name="other")
