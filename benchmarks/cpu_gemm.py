"""Our CPU micro-kernel beside NumPy's BLAS and ONNX Runtime, one thread: matrix products and convolutions.

    python benchmarks/cpu_gemm.py [--seconds 20] [--level x86-64-v4] [--only gemm|conv]

The sides take turns (ours, theirs, ours, ...), because clocks swing within a minute; reported is the median of the ratios of neighbours
(above 1: we are faster), that of the best runs, and our rate. Weights are packed before, for everyone who can (ONNX Runtime gets them as constants). Peers that are
not installed are left out and named.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

from stepwell.dialects.tile.refs import Window
from stepwell.testing.cpu_kernels import product_text
from stepwell.testing.native import compiled, panels
from stepwell.types.targets import CPU_LEVELS, host_cpu

GEMMS = [(3136, 64, 256), (784, 512, 128), (196, 1024, 256), (49, 2048, 512), (128, 768, 768), (128, 768, 3072),
         (128, 3072, 768), (1024, 1024, 1024), (512, 512, 64), (100, 300, 500)]  # fmt: skip
"""(M, K, N): 1x1 convolutions of ResNet-50, layers of BERT base, squares and odd shapes."""

CONVS = [(56, 64, 64, 3, 1), (28, 128, 128, 3, 1), (14, 256, 256, 3, 1), (7, 512, 512, 3, 1), (56, 128, 128, 3, 2),
         (56, 64, 256, 1, 1), (14, 1024, 256, 1, 1), (8, 64, 64, 3, 1)]  # fmt: skip
"""(extent, input channels, output channels, kernel, stride), batch 1, with bias, residual and relu."""


@dataclass(frozen=True)
class Case:
    """One comparison: what each side runs, and how much it computes."""

    name: str
    flops: int
    sides: dict[str, Callable[[], np.ndarray]]


def onnx_session(
    nodes: list[Any], inputs: dict[str, np.ndarray], constants: dict[str, np.ndarray]
) -> Callable[[], np.ndarray] | None:
    """A single-threaded ONNX Runtime session, or None where it is not installed."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return None
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    typed = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, v.shape) for n, v in inputs.items()]
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(nodes, "g", typed, [result], tensors)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 9
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)[0]


def gemm(level: str, m: int, k: int, n: int) -> Case:
    """A product without an epilogue to speak of (a bias of zeros for us: NumPy and ONNX Runtime do not add one)."""
    rng = np.random.default_rng(m + k + n)
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((m, k), (n, k)))
    inputs = [x.reshape(m, 1, k), panels(w.reshape(n, 1, k), CPU_LEVELS[level].block[1]), np.zeros(n, np.float32)]
    native = compiled(product_text(level, access="plain", epilogue="none", residual=False))
    ours = native.prepare(inputs, [(m, n)], group=group(level, k))
    dense = np.ascontiguousarray(w.T)
    sides: dict[str, Callable[[], np.ndarray]] = {"ours": ours, "numpy": lambda: x @ dense}
    try:
        from onnx import helper

        peer = onnx_session([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": x}, {"w": dense})
        sides |= {"onnxruntime": peer} if peer else {}
    except ImportError:
        pass
    return Case(f"gemm {m}x{k}x{n}", 2 * m * k * n, sides)


def conv(level: str, extent: int, channels: int, columns: int, kernel: int, stride: int) -> Case:
    """A convolution with bias, residual and relu; ONNX Runtime gets the same graph, channels first as it likes it."""
    rng = np.random.default_rng(extent + channels)
    pad = kernel // 2
    x = rng.standard_normal((1, extent, extent, channels), np.float32)
    w = (rng.standard_normal((columns, channels, kernel, kernel), np.float32) / (channels * kernel**2) ** 0.5).astype(
        np.float32
    )
    window = Window(x, ((kernel, kernel), (stride, stride), (pad,) * 4, (1, 1)), np.float32(0))
    m, side = window.extents[0], window.pixels[0]
    bias, residual = rng.standard_normal(columns, np.float32), rng.standard_normal((m, columns), np.float32)
    packed = panels(w.transpose(0, 2, 3, 1).reshape(columns, kernel * kernel, channels), CPU_LEVELS[level].block[1])
    native = compiled(product_text(level))
    ours = native.prepare(
        [window, packed, bias, residual], [(m, columns)], group=group(level, channels * kernel * kernel)
    )
    sides: dict[str, Callable[[], np.ndarray]] = {"ours": ours}
    try:
        from onnx import helper

        nodes = [
            helper.make_node(
                "Conv", ["x", "w", "b"], ["c"], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
            ),
            helper.make_node("Add", ["c", "r"], ["s"]),
            helper.make_node("Relu", ["s"], ["y"]),
        ]
        channels_first = residual.reshape(1, side, side, columns).transpose(0, 3, 1, 2)
        feeds = {"x": np.ascontiguousarray(x.transpose(0, 3, 1, 2)), "r": np.ascontiguousarray(channels_first)}
        peer = onnx_session(nodes, feeds, {"w": w, "b": bias})
        if peer:
            sides["onnxruntime"] = lambda: peer().transpose(0, 2, 3, 1).reshape(m, columns)
    except ImportError:
        pass
    return Case(
        f"conv {extent}x{extent} {channels}->{columns} {kernel}x{kernel}/{stride}",
        2 * m * channels * columns * kernel**2,
        sides,
    )


def group(level: str, depth: int) -> int:
    """Row tiles that share a panel, as the lowering chooses it."""
    from stepwell.transforms.tile_to_cpu.arguments import GROUP_BYTES

    return max(1, GROUP_BYTES // (CPU_LEVELS[level].block[0] * depth * 4))


def timed(side: Callable[[], np.ndarray], repeat: int) -> float:
    begun = time.perf_counter()
    for _ in range(repeat):
        side()
    return (time.perf_counter() - begun) / repeat


def measure(case: Case, seconds: float) -> dict[str, list[float]]:
    """Times per side, taken in turns; every side's result is checked first."""
    results = {name: side() for name, side in case.sides.items()}
    for result in results.values():
        np.testing.assert_allclose(result, results["ours"], rtol=2e-3, atol=2e-3)
    repeat = max(1, int(0.002 / timed(case.sides["ours"], 3)))
    times: dict[str, list[float]] = {name: [] for name in case.sides}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, side in case.sides.items():
            times[name].append(timed(side, repeat))
    return times


def cases(level: str, only: str) -> Iterator[Case]:
    if only in ("", "gemm"):
        yield from (gemm(level, *shape) for shape in GEMMS)
    if only in ("", "conv"):
        yield from (conv(level, *shape) for shape in CONVS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=20.0, help="for all cases together")
    parser.add_argument("--level", choices=list(CPU_LEVELS), default=host_cpu().processor)
    parser.add_argument("--only", choices=["gemm", "conv"], default="")
    options = parser.parse_args()
    count = {"gemm": len(GEMMS), "conv": len(CONVS), "": len(GEMMS) + len(CONVS)}[options.only]
    ratios: dict[str, list[float]] = {}
    print(f"{options.level}, 1 thread; ratio = their time / our time, median of pairs")
    for case in cases(options.level, options.only):
        times = measure(case, options.seconds / count)
        ours = np.array(times["ours"])
        rates = [case.flops / t / 1e9 for t in (np.median(ours), ours.min())]
        line = f"{case.name:34} {rates[0]:6.1f} (best {rates[1]:.1f}) GFLOP/s"
        for name in [name for name in times if name != "ours"]:
            ratio = float(np.median(np.array(times[name]) / ours))
            ratios.setdefault(f"{case.name.split()[0]} / {name}", []).append(ratio)
            line += f"   {name} {ratio:.2f} (best {min(times[name]) / ours.min():.2f})"
        print(line, flush=True)
    for name, values in ratios.items():
        print(f"geometric mean, {name}: {np.exp(np.mean(np.log(values))):.2f} ({len(values)} shapes)")


if __name__ == "__main__":
    main()
