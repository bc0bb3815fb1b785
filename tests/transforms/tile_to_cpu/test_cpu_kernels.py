"""CPU kernels, executed: machine code through the ELF loader against the tile interpreter. Small integers agree bit for bit."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import UnknownLoc

from stepwell.codegen.objects import compile_assembly, compile_module, cpu_text
from stepwell.dialects.tile.interpreter import run_kernel
from stepwell.dialects.tile.refs import Window
from stepwell.passes import names_of
from stepwell.testing.cpu_kernels import map_text, narrow_text, pool_text, product_text, relu_text
from stepwell.testing.native import Native, compiled, lowered, panels
from stepwell.types.targets import CPU_LEVELS, supports

LEVELS = [
    pytest.param(name, marks=pytest.mark.skipif(not supports(level), reason=f"this CPU is below {name}"))
    for name, level in CPU_LEVELS.items()
]


def integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    return rng.integers(-3, 4, shape).astype(dtype)


def agree(
    native: Native, inputs: Sequence[np.ndarray | Window], shapes: Sequence[tuple[int, ...]], **options: object
) -> None:
    """Bit for bit."""
    expected = run_kernel(native.kernel, inputs, shapes)
    for found, wanted in zip(native.run(inputs, shapes, **options), expected, strict=True):  # type: ignore[arg-type]
        np.testing.assert_array_equal(found, wanted)


# --- properties


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=25)
@given(data=st.data())
def test_convolutions_of_every_shape(level: str, data: st.DataObject) -> None:
    draw, size = data.draw, st.integers
    kernel, stride, pad, dilation = (draw(size(1, 3)), draw(size(1, 2)), draw(size(0, 2)), draw(size(1, 2)))
    extent = draw(size(max(1, dilation * (kernel - 1) + 1 - 2 * pad), 9))
    channels, columns = (
        draw(st.sampled_from([1, 2, 3, 5, 16])),
        draw(st.sampled_from([1, 2, 7, 10, 23, 24, 25, 64, 65, 130])),
    )
    rng = np.random.default_rng(draw(size(0, 99)))
    image = integers(rng, (draw(size(1, 2)), extent, extent + draw(size(0, 2)), channels))
    window = Window(image, ((kernel, kernel), (stride, stride), (pad,) * 4, (dilation, dilation)), np.float32(0))
    native = compiled(product_text(level))
    m = window.extents[0]
    w = panels(integers(rng, (columns, kernel * kernel, channels)), CPU_LEVELS[level].block[1])
    agree(
        native,
        [window, w, integers(rng, (columns,)), integers(rng, (m, columns))],
        [(m, columns)],
        group=draw(size(1, 5)),
    )


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=20)
@given(m=st.integers(1, 40), k=st.integers(1, 20), n=st.sampled_from([1, 10, 24, 48, 63, 64, 100, 128]), cuts=st.lists(st.integers(0, 30), max_size=4), group=st.integers(1, 9))  # fmt: skip
def test_matrix_products_cut_anywhere(level: str, m: int, k: int, n: int, cuts: list[int], group: int) -> None:
    rng = np.random.default_rng(m * k)
    w = panels(integers(rng, (n, 1, k)), CPU_LEVELS[level].block[1])
    inputs = [integers(rng, (m, 1, k)), w, integers(rng, (n,)), integers(rng, (m, n))]
    agree(compiled(product_text(level, access="plain")), inputs, [(m, n)], pieces=cuts, group=group)


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=12)
@given(m=st.integers(1, 40), n=st.sampled_from([1, 10, 63, 64, 100, 128]))
def test_one_code_with_masks_serves_all_blocks(level: str, m: int, n: int) -> None:
    rng = np.random.default_rng(m)
    text = product_text(level, access="plain")
    masked = text.replace("mma = fma>", "mma = fma, edges = masked>")
    w = panels(integers(rng, (n, 1, 5)), CPU_LEVELS[level].block[1])
    agree(compiled(masked), [integers(rng, (m, 1, 5)), w, integers(rng, (n,)), integers(rng, (m, n))], [(m, n)])
    sizes = [sum(1 for _ in lowered(one).walk()) for one in (text, masked)]
    assert sizes[1] < 0.8 * sizes[0]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n", [64, 70])
def test_long_epilogue(level: str, n: int) -> None:
    """A loop over rows takes the place of a copy per row."""
    rng = np.random.default_rng(n)
    w = panels(integers(rng, (n, 1, 5)), CPU_LEVELS[level].block[1])
    inputs = [integers(rng, (15, 1, 5)), w, integers(rng, (n,)), integers(rng, (15, n))]
    native = compiled(product_text(level, access="plain", epilogue="gelu"))
    expected = run_kernel(native.kernel, inputs, [(15, n)])[0]
    np.testing.assert_allclose(native.run(inputs, [(15, n)])[0], expected, rtol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_output_with_strides(level: str) -> None:
    """A slice of a wider tensor: what lies between its rows is not touched."""
    rng = np.random.default_rng(1)
    w = panels(integers(rng, (70, 1, 5)), CPU_LEVELS[level].block[1])
    inputs = [integers(rng, (15, 1, 5)), w, integers(rng, (70,)), integers(rng, (15, 70))]
    agree(compiled(product_text(level, access="plain")), inputs, [(15, 70)], strides={0: [101]})


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("shape", "strides"),
    [((4, 5, 7), (100, 11)), ((4, 5, 7), (11, 200)), ((3, 5, 40), (1000, 41)), ((2, 3, 4, 5), (200, 60, 7))],
)
def test_output_with_strides_of_any_rank(level: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    """Every row where its strides say, in any order of the dims, and nothing beside it."""
    x = integers(np.random.default_rng(1), shape)
    agree(compiled(relu_text(level, len(shape))), [x], [shape], strides={0: strides})


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_window_repeated_along_columns(level: str, channels: int) -> None:
    """A convolution that no matrix product takes reads its scalars through the pointer table."""
    rng = np.random.default_rng(channels)
    window = Window(integers(rng, (2, 5, 6, channels)), ((3, 3), (2, 1), (1,) * 4, (1, 1)), np.float32(0))
    inputs: list[np.ndarray | Window] = [window, integers(rng, (9, channels, 21))]
    agree(compiled(narrow_text(level)), inputs, [(window.extents[0], 21)])


@pytest.mark.parametrize("level", LEVELS)
def test_half_precision_storage(level: str) -> None:
    rng = np.random.default_rng(2)
    image = integers(rng, (1, 6, 7, 5), np.float16)
    window = Window(image, ((3, 3), (1, 1), (1,) * 4, (1, 1)), np.float16(0))
    w = panels(integers(rng, (70, 9, 5), np.float16), CPU_LEVELS[level].block[1])
    inputs: list[np.ndarray | Window] = [
        window,
        w,
        integers(rng, (70,), np.float16),
        integers(rng, (42, 70), np.float16),
    ]
    agree(compiled(product_text(level, element="f16")), inputs, [(42, 70)])


@pytest.mark.parametrize("level", LEVELS)
def test_floats_within_the_bound_of_the_sum(level: str) -> None:
    rng = np.random.default_rng(3)
    m, k, n = 50, 300, 90
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((m, 1, k), (n, 1, k)))
    packed = panels(w, CPU_LEVELS[level].block[1])
    native = compiled(product_text(level, access="plain", epilogue="none"))
    (found,) = native.run([x, packed, np.zeros(n, np.float32), np.zeros((m, n), np.float32)], [(m, n)])
    exact = x[:, 0].astype(np.float64) @ w[:, 0].T.astype(np.float64)
    bound = k * np.finfo(np.float32).eps * (np.abs(x[:, 0]) @ np.abs(w[:, 0]).T)
    assert (np.abs(found - exact) <= bound).all()


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=15)
@given(
    extent=st.integers(1, 7),
    channels=st.sampled_from([1, 3, 16, 17, 32]),
    stride=st.integers(1, 2),
    seed=st.integers(0, 9),
)
def test_max_pool(level: str, extent: int, channels: int, stride: int, seed: int) -> None:
    image = np.random.default_rng(seed).standard_normal((2, extent, extent, channels)).astype(np.float32)
    image[0, 0, 0, 0] = np.nan
    window = Window(image, ((3, 3), (stride, stride), (1,) * 4, (1, 1)), np.float32(-np.inf))
    native = compiled(pool_text(level))
    shape = (window.extents[0], channels)
    expected = run_kernel(native.kernel, [window], [shape])[0]
    np.testing.assert_array_equal(native.run([window], [shape], group=1)[0], expected)


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=15)
@given(m=st.integers(1, 9), n=st.integers(1, 40))
def test_elementwise_work(level: str, m: int, n: int) -> None:
    rng = np.random.default_rng(m + 50 * n)
    inputs: list[np.ndarray] = [integers(rng, shape) for shape in ((m, n), (n,), (m,))]
    agree(compiled(map_text(level)), inputs, [(m, n), (m, n)], group=1)


# --- code


@pytest.mark.parametrize("level", CPU_LEVELS)
def test_inner_loop_stays_in_registers(level: str) -> None:
    """All accumulators in registers: no stack access in the loop, and nothing but multiply-adds, loads and the count."""
    target = CPU_LEVELS[level]
    assembly = compile_assembly(cpu_text(lowered(product_text(level)), target), target)
    body = assembly.split("product:", 1)[1].split(".Lfunc_end", 1)[0]
    products = target.block[0] * target.block[1] * 4 // target.vector_bytes
    loops = [m.group(2) for m in re.finditer(r"(\.LBB\d+_\d+):[^\n]*\n((?:(?!\.LBB)[^\n]*\n)*?)\s+j\w+\s+\1\b", body)]
    inner = [text for text in loops if text.count("vfmadd") >= products]
    assert len(inner) == 1 and inner[0].count("vfmadd") % products == 0
    assert "(%rsp" not in inner[0] and "(%rbp" not in inner[0]
    assert len(inner[0].strip().splitlines()) <= 2 * products
    assert ("zmm" in inner[0]) == (level == "x86-64-v4")


@pytest.mark.parametrize("level", CPU_LEVELS)
@pytest.mark.parametrize("epilogue", ["relu", "gelu"])
def test_ops_per_kernel(level: str, epilogue: str) -> None:
    module = lowered(product_text(level, epilogue=epilogue))
    assert sum(1 for _ in module.walk()) <= 450


@pytest.mark.parametrize("level", LEVELS)
def test_same_bytes_every_time(level: str) -> None:
    assert compiled(product_text(level)).data == compile_module(lowered(product_text(level)), CPU_LEVELS[level]).data


def test_every_op_keeps_its_source() -> None:
    module = lowered(product_text("x86-64-v4"))
    inside = [op for op in module.walk() if op is not module]
    assert all(not isinstance(op.location, UnknownLoc) for op in inside)
    assert {name for op in inside for name in names_of(op)} == {"conv", "act"}


UNARY = ["arith.negf", "math.absf", "math.sqrt", "math.floor", "math.ceil", "math.trunc", "math.roundeven"]
BINARY = ["arith.addf", "arith.subf", "arith.mulf", "arith.divf", "arith.maximumf", "arith.minimumf", "math.copysign"]
COMPARISONS = ["oeq", "ogt", "oge", "olt", "ole", "one", "ord", "ueq", "ugt", "uge", "ult", "ule", "une", "uno"]


def every_op_text(level: str) -> str:
    """One output per op of a map body."""
    bodies = [f"%r = {op} %p : f32" for op in UNARY] + [f"%r = {op} %p, %q : f32" for op in BINARY]
    bodies += [f"%c = arith.cmpf {p}, %p, %q : f32\n %r = arith.select %c, %p, %q : f32" for p in COMPARISONS]
    bodies += ["%r = math.fma %p, %q, %p : f32", "%h = arith.truncf %p : f32 to f16\n %r = arith.extf %h : f16 to f32"]
    outputs = ", ".join(f"%y{i}: !tile.ref<2xf32, plain>" for i in range(len(bodies)))
    full = "!tile.tile<2x16xf32, regs>"
    maps = "\n".join(
        f"%o{i} = tile.map (%p = %a, %q = %b) {{\n{body}\ntile.yield %r\n}} : {full}\ntile.store %o{i}, %y{i}[%i, %j]"
        for i, body in enumerate(bodies)
    )
    return f"""
builtin.module attributes {{stepwell.target = "cpu", stepwell.cpu = "{level}"}} {{
tile.kernel @every(%x: !tile.ref<2xf32, plain>, %w: !tile.ref<2xf32, plain>) -> ({outputs}) config #tile.config<block = [2, 16]> {{
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y0 block [2, 16] {{
    %a = tile.load %x[%i, %j] : {full}
    %b = tile.load %w[%i, %j] : {full}
    {maps}
  }}
}}
}}"""


@pytest.mark.parametrize("level", LEVELS)
def test_every_op_of_a_map_on_vectors(level: str) -> None:
    """Special values and all, at whole and at cut tiles; only the payload of a NaN is open."""
    special = [0.0, -0.0, 1.0, -1.5, 2.5, 0.5, 3e38, -3e38, 70000.0, np.inf, -np.inf, np.nan, 1e-3]
    x, w = (value.astype(np.float32) for value in np.meshgrid(special, [*special, 7.0, -7.0, 9.0, 11.0]))
    native = compiled(every_op_text(level))
    shapes = [x.shape] * len(native.kernel.outputs)
    with np.errstate(all="ignore"):
        expected = run_kernel(native.kernel, [x, w], shapes)
    for found, wanted in zip(native.run([x, w], shapes, group=1), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
        numbers = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(wanted[numbers]))
