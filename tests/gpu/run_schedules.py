"""Products and convolutions under several schedules on a GPU: results (and residuals) directly or through shared memory, one multiplying role or two in turn.
`python tests/gpu/run_schedules.py [NAME ..] [--check]`

Prints a line per case and schedule: right or wrong, microseconds and TFLOP/s of the kernels alone, registers where an assembler is found. `--check`: small
shapes, not timed. Exit code 1 when one is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from xdsl.parser import Parser

import stepwell
from stepwell.driver.modules import make_context
from stepwell.driver.pipeline import Pipeline
from stepwell.runtime.errors import StepwellError
from stepwell.testing.gpu_contractions import Case, Ending, Schedule, Window, conv, gemm

BLOCKS = ((128, 256, 4), (128, 256, 3), (128, 128, 4), (128, 64, 4), (64, 256, 3), (64, 128, 4), (64, 64, 4))
"""Rows, columns, slots of the ring."""
STAGED = "tile-stage-stores{{all=true slots={}}}"
TURNS = "tile-split-roles{copies=2}"


def pipelines() -> dict[str, Pipeline]:
    """The schedules by name."""
    usual = stepwell.pipeline("sm_90a")
    turns = usual.drop("tile-split-roles").insert(TURNS, before="tile-hoist-constants")
    roads = {"one role": usual, "two in turn": turns}
    found = {f"{name}, direct": road for name, road in roads.items()}
    for name, road in roads.items():
        for slots in (1, 2):
            staged = road.insert(STAGED.format(slots), after="tile-assign-layouts")
            staged = staged.insert(f"tile-stage-loads{{all=true slots={slots}}}", after="tile-assign-layouts")
            found[f"{name}, staged in {slots}"] = staged
    return found


def parts() -> dict[str, Pipeline]:
    """For few rows and a long reduction: how many parts it is added up in."""
    usual = stepwell.pipeline("sm_90a")
    split = usual.drop("tile-split-reduction")
    found = {"whole": usual}
    for count in (2, 4, 8):
        found[f"in {count} parts"] = split.insert(
            f"tile-split-reduction{{parts={count}}}", after="tile-split-reduction"
        )
    return found


def products(small: bool) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """M, N, K of the products: those of the probes."""
    for m, n, k in (
        (2048,) * 3,
        (4096,) * 3,
        (16384, 768, 768),
        (100352, 64, 64),
        (100352, 256, 64),
        (25088, 512, 128),
    ):
        scale = 8 if small else 1
        yield f"{m}x{n}x{k}", (m // scale if m > 4096 else m // scale // 2 * 2, n, min(k, 256) if small else k)


def cases(small: bool) -> Iterator[Case]:
    """Every product and convolution under every block that divides its columns."""
    for name, (m, n, k) in products(small):
        for rows, columns, slots in BLOCKS:
            if n % columns == 0:
                yield gemm(f"{name} block {rows}x{columns}", m, n, k, "f16", Schedule((rows, columns), slots))
    for m, n, k in ((64, 512, 8192), (128, 4096, 4096), (64, 1024, 16384)):
        extents = (m, min(n, 128), min(k, 512)) if small else (m, n, k)
        for rows, columns in ((64, 64), (64, 128), (128, 64)):
            yield gemm(f"few rows {m}x{n}x{k} block {rows}x{columns}", *extents, "f16", Schedule((rows, columns), 4))
    images = {"resnet 56x56x64": ((32, 56, 56, 64), 64), "resnet 14x14x256": ((32, 14, 14, 256), 256)}
    for name, (image, filters) in images.items():
        for rows, columns, slots in BLOCKS:
            if filters % columns == 0:
                shape = (2, *image[1:]) if small else image
                yield conv(f"{name} block {rows}x{columns}", shape, filters, Window(), "f16", Schedule((rows, columns), slots), Ending("relu", True))  # fmt: skip


def run(case: Case, schedule: str, road: Pipeline, timed: bool) -> bool:
    """Compile, run and compare one case under one schedule; whether it was right."""
    module = Parser(make_context(case.weights), case.text).parse_module()
    engine = stepwell.compile(module, weights=case.weights, target="sm_90a", pipeline=road)
    context = engine.create_context()
    found = next(iter(context.run(case.inputs).values())).reshape(case.expected.shape)
    wrong = int((found != case.expected).sum())
    line = f"{case.name:34} {schedule:24} {'right' if not wrong else f'WRONG {wrong} of {found.size}'}"
    if timed:
        seconds = sum(took for _, took in context.profile(20))
        line += f"  {seconds * 1e6:8.2f} us  {case.flops / seconds / 1e12:7.1f} TFLOP/s  {case.bytes / seconds / 1e9:7.0f} GB/s"
    print(line, flush=True)
    return not wrong


def main() -> int:
    """All cases, or those whose names contain one of the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true", help="small shapes, right or wrong only")
    options = parser.parse_args()
    failed = count = 0
    for case in cases(options.check):
        if options.names and not any(name in case.name for name in options.names):
            continue
        exact = replace(case, expected=np.asarray(case.expected))
        roads = parts() if case.name.startswith("few rows") else pipelines()
        for schedule, road in roads.items():
            count += 1
            try:
                failed += not run(exact, schedule, road, not options.check)
            except StepwellError as error:
                print(
                    f"{case.name:34} {schedule:24} {'refused' if error.exit_code != 70 else 'FAILED'}: {str(error)[:160]}",
                    flush=True,
                )
                failed += error.exit_code == 70
    print(f"{count - failed} of {count} right or refused with a reason")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
