"""Kernels with rings in NumPy against direct NumPy, and what the interpreter says of rings that are misused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects.numerics import round_to_tf32
from stepwell.dialects.tile.interpreter import run_function, run_kernel
from stepwell.dialects.tile.ops_kernel import KernelOp
from stepwell.dialects.tile.refs import Window
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import ModelError

HERE = Path(__file__).parent
Array = np.ndarray


def module_of(name: str, main: str, *changes: tuple[str, str], verify: bool = True) -> ModuleOp:
    """A kernel of a test file, changed, with a function that applies it."""
    text = (HERE / f"{name}.mlir").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    module = parse_text(make_context(), text[: text.rindex("}")] + main + "\n}\n", SourceMap("test"))
    if verify:
        module.verify()
    return module


def whole(rng: np.random.Generator, *shape: int, dtype: type = np.float16) -> Array:
    """Small whole numbers."""
    return rng.integers(-2, 3, shape).astype(dtype)


def product_main(m: int, n: int, k: int) -> str:
    return f"""
  func.func @main(%x: tensor<{m}x1x{k}xf16>, %w: tensor<{n}x1x{k}xf16>, %b: tensor<{n}xf32>, %r: tensor<{m}x{n}xf16>) -> tensor<{m}x{n}xf16> {{
    %y = tile.apply @product(%x, %w, %b, %r) : (tensor<{m}x1x{k}xf16>, tensor<{n}x1x{k}xf16>, tensor<{n}xf32>, tensor<{m}x{n}xf16>) -> tensor<{m}x{n}xf16>
    func.return %y : tensor<{m}x{n}xf16>
  }}"""


def run_product(m: int, n: int, k: int, *changes: tuple[str, str], verify: bool = True) -> tuple[Array, Array]:
    """What the kernel gives, and what it should."""
    rng = np.random.default_rng(m + n + k)
    x, w, b, r = whole(rng, m, 1, k), whole(rng, n, 1, k), whole(rng, n, dtype=np.float32), whole(rng, m, n)
    (y,) = run_function(module_of("ring_product", product_main(m, n, k), *changes, verify=verify), [x, w, b, r])
    expected = x[:, 0].astype(np.float32) @ w[:, 0].astype(np.float32).T + b + r.astype(np.float32)
    return y, np.maximum(expected, 0).astype(np.float16)


@pytest.mark.parametrize(("m", "n", "k"), [(300, 200, 650), (1, 1, 1), (128, 64, 64), (0, 8, 8), (257, 3, 0)])
def test_product(m: int, n: int, k: int) -> None:
    y, expected = run_product(m, n, k)
    assert np.array_equal(y, expected)


def test_slots_are_a_matter_of_speed_only() -> None:
    y, expected = run_product(130, 100, 400, ("slots 4", "slots 2"), ("first 4", "first 2"))
    assert np.array_equal(y, expected)


def test_convolution_rounds_to_tf32() -> None:
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 9, 7, 40), (140, 9, 40), (140,)))
    m = 2 * 9 * 7
    main = f"""
  func.func @main(%x: tensor<2x9x7x40xf32>, %w: tensor<140x9x40xf32>, %b: tensor<140xf32>) -> tensor<{m}x140xf32> {{
    %v = tile.window %x kernel [3, 3] pads [1, 1, 1, 1] : tensor<2x9x7x40xf32> -> !tile.view<{m}x9x40xf32>
    %y = tile.apply @convolution(%v, %w, %b) : (!tile.view<{m}x9x40xf32>, tensor<140x9x40xf32>, tensor<140xf32>) -> tensor<{m}x140xf32>
    func.return %y : tensor<{m}x140xf32>
  }}"""
    (y,) = run_function(module_of("ring_convolution", main), [x, w, b])
    window = Window(round_to_tf32(x), ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)), 0.0)
    taps = window.at(np.ix_(np.arange(m), np.arange(9), np.arange(40))).reshape(m, -1)
    expected = taps @ round_to_tf32(w).reshape(140, -1).T + b
    assert np.allclose(y, expected, rtol=1e-5, atol=1e-4)
    exact = Window(x, ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)), 0.0).at(np.ix_(np.arange(m), np.arange(9), np.arange(40)))
    assert np.max(np.abs(exact.reshape(m, -1) @ w.reshape(140, -1).T + b - y)) > 1e-4


def packed_main(m: int, n: int, k: int) -> str:
    return f"""
  func.func @main(%x: tensor<{m}x1x{k}xf16>, %w: tensor<{n}x1x{k}xf16>) -> tensor<{m}x{n}xf16> {{
    %y = tile.apply @packed(%x, %w) : (tensor<{m}x1x{k}xf16>, tensor<{n}x1x{k}xf16>) -> tensor<{m}x{n}xf16>
    func.return %y : tensor<{m}x{n}xf16>
  }}"""


def run_packed(m: int, n: int, k: int, *changes: tuple[str, str], verify: bool = True) -> tuple[Array, Array]:
    """A packing role, and a result that leaves through shared memory."""
    rng = np.random.default_rng(k)
    x, w = whole(rng, m, 1, k), 2 * whole(rng, n, 1, k)
    (y,) = run_function(module_of("ring_packed", packed_main(m, n, k), *changes, verify=verify), [x, w])
    return y, (x[:, 0].astype(np.float32) @ (w[:, 0].astype(np.float32) / 2).T).astype(np.float16)


@pytest.mark.parametrize(("m", "n", "k"), [(200, 130, 300), (1, 64, 65)])
def test_packed(m: int, n: int, k: int) -> None:
    y, expected = run_packed(m, n, k)
    assert np.array_equal(y, expected)


PINGPONG = (
    ('"multiply" warpgroups 2 {', '"multiply" warpgroups 1 copies 2 order @turn {'),
    ("slots 4 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>)", "slots 4 (64x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>) alternate"),
    ("128x64xf", "64x64xf"),
    ("[128, 64]", "[64, 64]"),
    ("        %z = ", "        tile.turn begin @turn\n        %z = "),
    ("        tile.release %ab\n", "        tile.release %ab\n        tile.turn end @turn\n"),
)  # fmt: skip


@pytest.mark.parametrize(("m", "n", "k"), [(300, 200, 200), (64, 64, 64), (65, 1, 600)])
def test_copies_take_turns(m: int, n: int, k: int) -> None:
    y, expected = run_product(m, n, k, *PINGPONG)
    assert np.array_equal(y, expected)


MISUSE: dict[str, tuple[Callable[..., tuple[Array, Array]], tuple[tuple[str, str], ...], str]] = {
    "a turn that ends twice": (
        run_product,
        (*PINGPONG, ("        tile.turn end @turn\n", "        tile.turn end @turn\n        tile.turn end @turn\n")),
        "@turn ends here, and it is the turn of copy 1",
    ),
    "no slot is free": (run_product, (("behind 1", "behind 4"),), 'deadlock: "load" waits at %ab: tile.fetch to #1 finds no free slot'),
    "released twice": (
        run_product,
        (("        tile.release %ab\n", "        tile.release %ab\n        tile.release %ab\n"),),
        "tile.release %ab: %ab is released twice: nothing of it is held",
    ),
    "read after release": (
        run_product,
        (("          %d = tile.mma", "          tile.release %ab\n          %d = tile.mma"), ("          tile.release %ab behind 1\n", "")),
        "reads element #0 of %ab after its slot was released",
    ),
    "awaited and not fetched": (
        run_product,
        (("          tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma\n", ""),),
        '"multiply" waits at %ab: tile.await of a slot that nobody fills',
    ),
    "another tile ahead": (
        run_product,
        (("%w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma\n", "%w[%i, %t, %k] dims = [0, 2] to %ab#1 via tma\n"),),
        "%ab#1 was fetched ahead from [0, 0, 0], the rest wants [64, 0, 0]",
    ),
    "published empty": (run_packed, (("          tile.write %half, %slot\n", ""),), "a slot of %ws is published before all its elements are written"),
    "published twice": (
        run_packed,
        (("          tile.publish %ws\n", "          tile.publish %ws\n          tile.publish %ws\n"),),
        "nothing of %ws was acquired since the last tile.publish",
    ),
    "drained empty": (run_packed, (("        tile.write %o, %out\n", ""),), "drains a slot of %stage that nobody wrote"),
    "drained twice": (
        run_packed,
        (("        tile.drain %out to %y[%i, %j] via tma\n", "        tile.drain %out to %y[%i, %j] via tma\n" * 2),),
        "drains a slot of %stage twice",
    ),
    "written late": (
        run_packed,
        (("          tile.publish %ws\n", "          tile.publish %ws\n          tile.write %half, %slot\n"),),
        "writes to a slot of %ws that was given away before",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name: str) -> None:
    run, changes, message = MISUSE[name]
    with pytest.raises(ModelError) as error:
        run(200, 200, 330, *changes, verify=False)
    assert message in str(error.value)


def attention(causal: bool, m: int, t: int) -> tuple[Array, Array]:
    """What the kernel gives, and softmax(q k^T / 8) v in float64."""
    plain = (
        (" range [0, %i + 128) reverse", " reverse"),
        ("arith.cmpi sge, %2, %3", "arith.cmpi eq, %2, %2"),
    )
    rng = np.random.default_rng(m)
    q, k, v = (rng.standard_normal((rows, 64)).astype(np.float16) for rows in (m, t, t))
    main = f"""
  func.func @main(%q: tensor<{m}x64xf16>, %k: tensor<{t}x64xf16>, %v: tensor<{t}x64xf16>) -> tensor<{m}x64xf16> {{
    %y = tile.apply @attention(%q, %k, %v) : (tensor<{m}x64xf16>, tensor<{t}x64xf16>, tensor<{t}x64xf16>) -> tensor<{m}x64xf16>
    func.return %y : tensor<{m}x64xf16>
  }}"""
    (y,) = run_function(module_of("ring_attention", main, *(() if causal else plain)), [q, k, v])
    scores = q.astype(np.float64) @ k.astype(np.float64).T / 8
    if causal:
        scores = np.where(np.arange(m)[:, None] >= np.arange(t), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return y, weights / weights.sum(axis=1, keepdims=True) @ v.astype(np.float64)


@pytest.mark.parametrize(("causal", "m", "t"), [(True, 300, 300), (True, 1, 1), (True, 64, 64), (False, 70, 256)])
def test_attention(causal: bool, m: int, t: int) -> None:
    y, expected = attention(causal, m, t)
    assert np.max(np.abs(y - expected)) < 2e-3


@pytest.mark.parametrize(("m", "n"), [(7, 200), (1, 1), (4, 256), (0, 3)])
def test_softmax(m: int, n: int) -> None:
    x = np.random.default_rng(n).standard_normal((m, n)).astype(np.float32)
    kind = f"tensor<{m}x{n}xf32>"
    main = f"""
  func.func @main(%x: {kind}) -> {kind} {{
    %y = tile.apply @softmax(%x) : ({kind}) -> {kind}
    func.return %y : {kind}
  }}"""
    (y,) = run_function(module_of("reduce", main), [x])
    powers = np.exp2(x.astype(np.float64))
    assert np.allclose(y, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("seed", range(1, 5))
def test_any_order_of_roles_and_any_number_of_blocks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = whole(rng, 200, 1, 330), whole(rng, 130, 1, 330)
    module = module_of("ring_pingpong", "")
    kernel = next(op for op in module.ops if isinstance(op, KernelOp))
    (y,) = run_kernel(kernel, [x, w], [(200, 130)], seed)
    assert np.array_equal(y, (x[:, 0].astype(np.float32) @ w[:, 0].astype(np.float32).T).astype(np.float16))
