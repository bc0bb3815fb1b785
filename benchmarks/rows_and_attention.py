"""Softmax, layer norm, reductions, batched products and attention beside PyTorch on a GPU, both sides in one run.

    python benchmarks/rows_and_attention.py [--only softmax] [--rounds 40]

Each side is one CUDA graph on resident data, timed by events; the sides take turns. Reported are median microseconds, the median of the ratios of neighbours (theirs / ours:
above 1 we are faster), for kernels bound by memory the share of the copy rate (256 MB read and written), and the largest difference beside the largest result. Data are normal.
PyTorch computes in f16 (`scaled_dot_product_attention` as it chooses), ours with f16 inputs of the network.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from sides import Side, torch_side

import stepwell

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'


@dataclass(frozen=True)
class Case:
    """A network of one operator: its inputs in ONNX's syntax, its body, and the same for PyTorch as an expression of `t` and the inputs."""

    name: str
    inputs: str
    body: str
    theirs: str
    bound_by_memory: bool = True


def attention(b: int, h: int, s: int, d: int) -> Case:
    """softmax(Q K^T / sqrt(D)) V in ONNX's pieces."""
    body = f"""k_ = Transpose <perm = [0, 1, 3, 2]> (k) s = MatMul (q, k_) c_ = Constant <value_float = {d**-0.5}> () c = Cast <to = 10> (c_) u = Mul (s, c)
        p = Softmax <axis = -1> (u) y = MatMul (p, v)"""
    shape = f"float16[{b},{h},{s},{d}]"
    theirs = "t.nn.functional.scaled_dot_product_attention(q, k, v)"
    return Case(f"attention {b}x{h}x{s}x{d}", f"{shape} q, {shape} k, {shape} v", body, theirs, bound_by_memory=False)


def rows(kind: str, m: int, n: int) -> Case:
    """An operator on the rows of a matrix."""
    norm = f"float16[{m},{n}] x, float16[{n}] g, float16[{n}] b"
    return {
        "softmax": Case(f"softmax {m}x{n}", f"float16[{m},{n}] x", "y = Softmax <axis = -1> (x)", "t.softmax(x, -1)"),
        "layer norm": Case(
            f"layer norm {m}x{n}",
            norm,
            "y = LayerNormalization <axis = -1, epsilon = 1e-5> (x, g, b)",
            f"t.nn.functional.layer_norm(x, [{n}], g, b)",
        ),
        "sum": Case(
            f"sum of rows {m}x{n}",
            f"float16[{m},{n}] x",
            "a = Constant <value_ints = [1]> () y = ReduceSum <keepdims = 0> (x, a)",
            "x.sum(1)",
        ),
    }[kind]


CASES = [
    *(rows("softmax", *shape) for shape in ((4096, 1000), (16384, 768), (512, 32768))),
    *(rows("layer norm", *shape) for shape in ((4096, 1024), (16384, 768), (512, 16384))),
    *(rows("sum", *shape) for shape in ((16384, 1024), (512, 65536))),
    Case(
        "batched product 96x512x64x512",
        "float16[96,512,64] a, float16[96,512,64] b",
        "c = Transpose <perm = [0, 2, 1]> (b) y = MatMul (a, c)",
        "a @ b.transpose(1, 2)",
        False,
    ),
    *(attention(*shape) for shape in ((8, 12, 197, 64), (1, 12, 512, 64), (16, 16, 1024, 64), (4, 16, 2048, 128))),
]


def arrays_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Normal data for each input."""
    rng = np.random.default_rng(0)
    shapes = {entry.name: [dim.dim_value for dim in entry.type.tensor_type.shape.dim] for entry in model.graph.input}
    return {name: rng.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()}


def copy_rate(torch: Any) -> float:
    """Bytes in a millisecond, read and written, of a copy of 256 MB."""
    source = torch.empty(1 << 27, dtype=torch.float16, device="cuda")
    target = torch.empty_like(source)
    timed, _ = torch_side(torch, lambda: target.copy_(source))
    return 2 * source.numel() * 2 / statistics.median(timed() for _ in range(20))


def compared(torch: Any, case: Case, rounds: int, rate: float) -> str:
    """The row of one case."""
    model = onnx.parser.parse_model(HEAD + f"net ({case.inputs}) => (y) {{ {case.body} }}")
    arrays = arrays_of(model)
    context = stepwell.compile(model, target="sm_90a").create_context()
    made = context.run(arrays)["y"].astype(np.float64)
    tensors = {name: torch.tensor(array, device="cuda") for name, array in arrays.items()}
    theirs, output = torch_side(torch, lambda: eval(case.theirs, {"t": torch, **tensors}))
    ours: Side = lambda: context.measure(1)[0] * 1e3
    pairs = [(ours(), theirs()) for _ in range(rounds + 5)][5:]
    wanted = output.double().cpu().numpy()
    error = float(np.abs(made - wanted).max() / np.abs(wanted).max())
    mine = statistics.median(a for a, _ in pairs)
    moved = sum(array.nbytes for array in arrays.values()) + made.size * 2
    share = f"{moved / mine / rate:6.2f}" if case.bound_by_memory else "     -"
    ratio = statistics.median(b / a for a, b in pairs)
    peer = statistics.median(b for _, b in pairs)
    count = len(context.program.launches)
    return (
        f"{case.name:32} {1e3 * mine:9.2f} us {1e3 * peer:9.2f} us {ratio:6.2f} {share}  {error:.1e}  {count} launches"
    )


def main() -> None:
    """Parse the arguments, compare case by case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    import torch

    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    rate = copy_rate(torch)
    print(f"copy rate {rate / 1e9:.2f} TB/s; {'case':18} {'ours':>12} {'torch':>12} {'ratio':>6} {'share':>6}  error")
    for case in CASES:
        if options.only in case.name:
            print(compared(torch, case, options.rounds, rate), flush=True)


if __name__ == "__main__":
    main()
