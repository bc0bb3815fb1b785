"""The digit classifier beside its peers, both sides in one run: ONNX Runtime on the CPU, PyTorch (eager in a CUDA graph, and torch.compile) on a GPU.

    python benchmarks/digits.py [--device cpu|cuda] [--batch 128] [--precision model|fp16] [--rounds 200] [--compile]

The sides take turns (ours, theirs, ours, ...). Reported are medians in milliseconds and the median of the ratios of neighbours
(theirs / ours: above 1 we are faster). On a GPU both sides are one CUDA graph on resident data, timed by events; on the CPU host time from call to
outputs. The floor is the larger of operations over rate and bytes over bandwidth (every launch reads its operands and writes its result once), at
the rates given by `--tflops` and `--tbps`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from sides import Side, torch_side

import stepwell

MODEL = Path(__file__).parent.parent / "examples" / "digits" / "digits.onnx"
HELDOUT = MODEL.with_name("heldout.npz")
CHANNELS, HIDDEN, CLASSES, PIXELS = 64, 64, 10, 64


def images(batch: int) -> np.ndarray:
    """Held-out images, repeated to fill the batch."""
    return np.resize(np.load(HELDOUT)["images"].astype(np.float32), (batch, 1, 8, 8))


def floor_ms(batch: int, item: int, tflops: float, tbps: float) -> float:
    """Milliseconds that no version can beat: per launch, operations or bytes."""
    rows, c = batch * PIXELS, CHANNELS
    launches = [  # operations, bytes
        (2 * rows * 9 * c, rows * (4 + c * item)),
        (2 * rows * 9 * c * c, (2 * rows * c + 9 * c * c) * item),
        (2 * rows * 9 * c * c, (3 * rows * c + 9 * c * c) * item),
        (rows * c, (rows * c + batch * 4 * c) * item),
        (2 * batch * 4 * c * HIDDEN, (batch * 4 * c + 4 * c * HIDDEN + batch * HIDDEN) * item),
        (2 * batch * HIDDEN * CLASSES, (batch * HIDDEN + HIDDEN * CLASSES + batch * CLASSES) * item),
    ]
    return sum(max(ops / (tflops * 1e12), moved / (tbps * 1e12)) for ops, moved in launches) * 1e3


def host_timed(call: Callable[[], object]) -> Side:
    """Milliseconds of one call on the host's clock."""

    def timed() -> float:
        begin = time.perf_counter()
        call()
        return (time.perf_counter() - begin) * 1e3

    return timed


def onnxruntime_side(batch: np.ndarray, threads: int) -> Side:
    """ONNX Runtime; its idle threads do not spin, or they would take our cores in our turn."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return host_timed(lambda: session.run(None, {name: batch}))


def torch_network(torch: Any, half: bool) -> Any:
    """The same network as PyTorch modules, with the weights of the ONNX file, channels last."""
    values = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in onnx.load(MODEL).graph.initializer}
    names = {node.name: list(node.input) for node in onnx.load(MODEL).graph.node}
    functional, kind = torch.nn.functional, torch.float16 if half else torch.float32
    held = {k: v.to("cuda", kind if v.is_floating_point() else v.dtype) for k, v in values.items()}
    held = {k: v.to(memory_format=torch.channels_last) if v.dim() == 4 else v for k, v in held.items()}

    def weight(node: str, position: int = 1) -> Any:
        return held[names[node][position]]

    def forward(x: Any) -> Any:
        x = x.to(kind)
        x = functional.conv2d(x, weight("stem/conv"), weight("stem/conv", 2), padding=1).relu()
        y = functional.conv2d(x, weight("block/conv1"), weight("block/conv1", 2), padding=1).relu()
        y = functional.conv2d(y, weight("block/conv2"), weight("block/conv2", 2), padding=1)
        x = functional.max_pool2d((x + y).relu(), 4).flatten(1)
        x = functional.gelu(x @ weight("head/hidden") + weight("head/hidden_bias"))
        return (x @ weight("head/logits") + weight("head/logits_bias")).float()

    return forward


def gpu_sides(context: Any, batch: np.ndarray, half: bool, compiled: bool) -> dict[str, Side]:
    """Ours and PyTorch's, after a check that they compute the same."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    forward, on_device = torch_network(torch, half), torch.tensor(batch, device="cuda")
    sides: dict[str, Side] = {"stepwell": lambda: context.measure(1)[0] * 1e3}
    found = next(iter(context.run({"image": batch}).values()))
    variants = {"torch, CUDA graph": forward}
    if compiled:
        variants["torch.compile, CUDA graph"] = torch.compile(forward)
    for name, function in variants.items():
        sides[name], output = torch_side(torch, lambda function=function: function(on_device))
        sides[name]()
        error = np.abs(output.cpu().numpy() - found).max() / np.abs(found).max()
        print(f"  {name}: largest difference from ours {error:.1e} of the largest output")
    return sides


def report(sides: dict[str, Side], rounds: int, floor: float | None) -> None:
    """Take turns and print medians and ratios."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 10):
        for name, side in sides.items():
            value = side()
            if turn >= 10:
                times[name].append(value)
    ours = times["stepwell"]
    for name, values in times.items():
        ratio = statistics.median(theirs / mine for theirs, mine in zip(values, ours, strict=True))
        print(f"  {name:28} {statistics.median(values):9.4f} ms   {ratio:6.2f} x ours")
    if floor is not None:
        print(f"  roofline floor               {floor:9.4f} ms   {floor / statistics.median(ours):6.2f} x ours")


def main() -> None:
    """Parse the arguments, compile, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=("model", "fp16"), default="model")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="also against torch.compile")
    parser.add_argument("--tflops", type=float, default=None, help="matrix rate of the floor")
    parser.add_argument("--tbps", type=float, default=3.0, help="memory rate of the floor, TB/s")
    options = parser.parse_args()
    half = options.precision == "fp16"
    batch = images(options.batch)
    target = "cpu" if options.device == "cpu" else "sm_90a"
    shape = "x".join(map(str, batch.shape))
    begin = time.perf_counter()
    engine = stepwell.compile(MODEL, target=target, precision=options.precision, shapes={"image": shape})
    took = time.perf_counter() - begin
    print(
        f"digits, batch {options.batch}, precision {options.precision}, {engine.module.device}, compiled in {took:.1f} s"
    )
    if target == "cpu":
        context = engine.create_context(threads=options.threads)
        sides = {"stepwell": host_timed(lambda: context.run({"image": batch}))}
        sides[f"onnxruntime, {options.threads} threads"] = onnxruntime_side(batch, options.threads)
        report(sides, options.rounds, None)
    else:
        context = engine.create_context()
        tflops = options.tflops or (714.0 if half else 372.0)
        floor = floor_ms(options.batch, 2 if half else 4, tflops, options.tbps)
        report(gpu_sides(context, batch, half, options.compile), options.rounds, floor)
    for name, seconds in context.profile():
        print(f"    {seconds * 1e3:8.4f} ms  {name}")


if __name__ == "__main__":
    main()
