"""The demo: compile the digit classifier, follow one convolution down every level, classify the held-out images on the CPU and, where there is
one, on the GPU.

    python examples/digits/demo.py [--batch 120] [--keep FOLDER]

Exits 1 unless every run classifies at least 97 % of the held-out images rightly and gives every image the label that the NumPy
reference gives it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from doors import show as show_doors
from levels_shown import BLOCK, SAYS, excerpt
from reference import classify as reference_labels
from reference import load_heldout, load_weights
from xdsl.dialects.builtin import ModuleOp

import stepwell
from stepwell.ir.printing import module_text
from stepwell.passes.levels import LEVELS, dialect_counts
from stepwell.runtime.engine import Engine, load
from stepwell.runtime.errors import PlanError, StepwellError
from stepwell.runtime.plan_file import read_plan, write_plan

HERE = Path(__file__).resolve().parent
MODEL = HERE / "digits.onnx"
ACCURACY = 0.97
TARGETS = ("cpu", "sm_90a")
SHOWN = "sm_90a"
"""Whose levels are shown: lowering needs no GPU."""


@dataclass(frozen=True)
class Rung:
    """The network at one level: `seconds` is what the way down from the level above took."""

    level: str
    module: ModuleOp
    seconds: float

    @property
    def ops(self) -> int:
        """How many ops there are."""
        return sum(dialect_counts(self.module).values())


def ladder(target: str, batch: int) -> list[Rung]:
    """The network at every level for one target."""
    module = stepwell.import_model(MODEL, shapes={"image": (batch, 1, 8, 8)})
    rungs = []
    for level in LEVELS:
        begun = time.perf_counter()
        module = stepwell.lower(module, to=level, target=target)
        rungs.append(Rung(level, module, time.perf_counter() - begun))
    return rungs


def show_convolution(rungs: list[Rung]) -> None:
    """One convolution at every level."""
    print("Stepwell compiles digits.onnx, a classifier of 8x8 images of digits, level by level.\n")
    print(f"One convolution of the network, {BLOCK}, on its way to {SHOWN} (types and most lines left out):")
    for rung in rungs:
        print(f"\n{rung.level:8}{SAYS[rung.level]}")
        print("\n".join(excerpt(module_text(rung.module, locations=False), rung.level)))


def show_table(ladders: dict[str, list[Rung]]) -> None:
    """Ops and seconds of every level."""
    print("\n\nThe whole network at every level:\n")
    print(f"{'':48}" + "".join(f"{target:>20}" for target in ladders))
    print(f"{'level':8}{'what it says':40}" + f"{'ops':>10}{'seconds':>10}" * len(ladders))
    for rungs in zip(*ladders.values(), strict=True):
        cells = "".join(f"{rung.ops:>10,}{rung.seconds:>10.2f}" for rung in rungs)
        print(f"{rungs[0].level:8}{SAYS[rungs[0].level]:40}{cells}")


def classify(engine: Engine, images: np.ndarray) -> np.ndarray:
    """The label of every image; the last batch is filled up with zeros."""
    (binding,) = [b for b in engine.bindings if b.is_input]
    batch = binding.shape[0]
    labels = []
    for begin in range(0, len(images), batch):
        part = images[begin : begin + batch]
        filled = np.zeros(binding.shape, np.float32)
        filled[: len(part)] = part
        (logits,) = engine.run({binding.name: filled}).values()
        labels.append(logits[: len(part)].argmax(axis=1))
    return np.concatenate(labels)


def judge(engine: Engine, images: np.ndarray, labels: np.ndarray, reference: np.ndarray) -> bool:
    """Print what one section does; True when it is right."""
    begun = time.perf_counter()
    found = classify(engine, images)
    seconds = time.perf_counter() - begun
    accuracy, same = float((found == labels).mean()), int((found == reference).sum())
    report = stepwell.bench(engine, duration=1.0, warmup=0.2)
    print(f"\nOn this machine: {engine.choice}")
    print(f"accuracy    {100 * accuracy:.2f} % of {len(labels)} held-out images, in {1e3 * seconds:.1f} ms")
    print(f"reference   {same} of {len(labels)} labels equal the NumPy reference's")
    print("\n".join(line for line in str(report).splitlines() if not line.startswith("section")))
    return accuracy >= ACCURACY and same == len(labels)


def run(batch: int, folder: Path) -> bool:
    """The whole demo; True when every section that this machine can run is right."""
    ladders = {name: ladder(name, batch) for name in TARGETS}
    show_convolution(ladders[SHOWN])
    show_table(ladders)
    begun = time.perf_counter()
    plan = stepwell.compile_plan(MODEL, target=list(TARGETS), shapes={"image": (batch, 1, 8, 8)})
    path = folder / "digits.plan"
    write_plan(plan, path)
    seconds = time.perf_counter() - begun
    kilobytes = path.stat().st_size / 1024
    print(f"\n\nCompiled into one plan file for {' and '.join(TARGETS)}: {kilobytes:,.0f} KiB in {seconds:.1f} s")

    images, labels = load_heldout()
    reference = reference_labels(load_weights(MODEL), images)
    print("\nThe same network through every door, executed at the graph level:")
    right = show_doors(images, reference)
    for section in read_plan(path).sections:
        try:
            engine = load(path, section.name)
        except PlanError as reason:
            print(f"\nNot run on this machine: section {section.name}, because {_short(str(reason), section.name)}")
            right &= section.target != "cpu"
            continue
        with engine:
            right &= judge(engine, images, labels, reference)
    return right


def _short(reason: str, section: str) -> str:
    """What a refusal says of the section, without what follows."""
    return reason.partition(f"{section}: ")[2].partition(":")[0] or reason


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--batch", type=int, default=120, help="images per run (default 120)")
    parser.add_argument("--keep", type=Path, help="keep the plan file in this folder")
    args = parser.parse_args()
    try:
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            right = run(args.batch, args.keep)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                right = run(args.batch, Path(scratch))
    except StepwellError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\nA level in full ('. .venv/bin/activate' puts the command on the path):")
    print("    stepwell-opt examples/digits/digits.onnx --shape image:120x1x8x8 --arch sm_90a --to tile\n")
    print("done: every label is right" if right else "FAILED")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
