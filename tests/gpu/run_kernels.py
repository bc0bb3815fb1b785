"""Run kernels of every kind on a GPU and compare them with NumPy; then time the large ones. `python tests/gpu/run_kernels.py [NAME ..] [--time]`

Prints one line per case: right or wrong, and with --time microseconds, TFLOP/s and GB/s of the kernel alone (launched without overlap). Exit
code 1 when a case is wrong.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import traceback
from typing import Any

import numpy as np

from stepwell.runtime.errors import StepwellError
from stepwell.testing import gpu_kernels
from stepwell.testing.gpu_contractions import Case, Ending, Schedule, Window, conv, gemm


def build(case: Case) -> Any:
    """An engine for one case."""
    from xdsl.parser import Parser

    import stepwell
    from stepwell.driver.modules import make_context

    module = Parser(make_context(case.weights), case.text).parse_module()
    return stepwell.compile(module, weights=case.weights, target="sm_90a")


def compare(case: Case, got: np.ndarray) -> str:
    """Empty when right, else what is wrong."""
    expected = case.expected.astype(np.float64)
    found = got.reshape(expected.shape).astype(np.float64)
    equal = found == expected if case.rtol == 0.0 else np.isclose(found, expected, rtol=case.rtol, atol=1e-3)
    if equal.all():
        return ""
    row, column = (int(v[0]) for v in np.nonzero(~equal))
    wrong = int((~equal).sum())
    return f"{wrong} of {equal.size} differ, first [{row}, {column}]: {found[row, column]} for {expected[row, column]}"


def run(case: Case, timed: bool) -> bool:
    """Build, run three times with the same context, compare, and perhaps time one case."""
    started = time.perf_counter()
    engine = build(case)
    built = time.perf_counter() - started
    context = engine.create_context()
    problems = [compare(case, next(iter(context.run(case.inputs).values()))) for _ in range(3)]
    wrong = next((p for p in problems if p), "")
    line = f"{case.name:26} {'WRONG ' + wrong if wrong else 'right'}  built in {built:.2f} s"
    if timed:
        seconds = statistics.median(s for _, s in context.profile(20))
        line += f"  {seconds * 1e6:8.2f} us"
        line += f"  {case.flops / seconds / 1e12:7.1f} TFLOP/s" if case.flops else ""
        line += f"  {case.bytes / seconds / 1e9:7.0f} GB/s"
    print(line, flush=True)
    return not wrong


def large_cases() -> list[Case]:
    """Shapes that fill an H100; integer data, so the reference is exact in f32."""
    s, e, w = Schedule, Ending, Window
    listed = [
        gemm(f"large_gemm_{n}_{element}", n, n, n, element, s((128, 256), 4), e("none"))
        for n, element in ((1024, "f16"), (2048, "f16"), (4096, "f16"), (2048, "f32"))
    ]
    listed += [
        gemm("large_gemm_2048_128x128", 2048, 2048, 2048, "f16", s((128, 128), 4), e("none")),
        conv("resnet_64_56_f16", (32, 56, 56, 64), 64, w(), "f16", s((128, 64), 4), e("relu")),
        conv("resnet_64_56_residual", (32, 56, 56, 64), 64, w(), "f16", s((128, 64), 4), e("relu", True)),
        conv("resnet_256_14_f16", (32, 14, 14, 256), 256, w(), "f16", s((128, 256), 4), e("relu")),
        conv("digits_conv_f16", (128, 8, 8, 64), 64, w(), "f16", s((128, 64), 4), e("relu", True)),
        conv("digits_conv_f16_64", (128, 8, 8, 64), 64, w(), "f16", s((64, 64), 4), e("relu", True)),
        conv("digits_conv_tf32", (128, 8, 8, 64), 64, w(), "f32", s((64, 64), 4), e("relu", True)),
        gpu_kernels.stem("digits_stem", (128, 8, 8, 1), 64),
        gpu_kernels.pool("pool_112", (32, 112, 112, 64), w((3, 3), (2, 2), (1, 1, 1, 1)), "f16"),
        gpu_kernels.elementwise("elementwise_large", 65536, 256, "f16"),
    ]
    return listed


def main() -> int:
    """All cases, or those whose names contain one of the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--time", action="store_true", help="time each kernel, and add the large shapes")
    options = parser.parse_args()
    listed = gpu_kernels.small_cases() + (large_cases() if options.time else [])
    chosen = [c for c in listed if not options.names or any(name in c.name for name in options.names)]
    failed = 0
    for case in chosen:
        try:
            failed += not run(case, options.time)
        except (StepwellError, RuntimeError, ValueError) as error:  # one broken kernel must not hide the others
            failed += 1
            print(f"{case.name:26} FAILED {type(error).__name__}: {str(error)[:300]}", flush=True)
            traceback.print_exc(limit=-3)
    print(f"{len(chosen) - failed} of {len(chosen)} right")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
