"""The demo: compile the digit classifier, look at every level, classify the held-out images on the CPU and, where there is one, on the GPU.

    python examples/digits/demo.py [--batch 120] [--lines 6] [--keep FOLDER]

Exits 1 unless every run classifies at least 97 % of the held-out images rightly and gives every image the label that the NumPy
reference gives it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from reference import classify as reference_labels
from reference import load_heldout, load_weights
from xdsl.dialects.builtin import ModuleOp

import stepwell
from stepwell.levels import LEVELS, dialect_counts, level_of
from stepwell.printing import module_text
from stepwell.runtime.engine import Engine, load
from stepwell.runtime.errors import PlanError, StepwellError
from stepwell.runtime.plan_file import read_plan, write_plan

HERE = Path(__file__).resolve().parent
MODEL = HERE / "digits.onnx"
ACCURACY = 0.97


def show_level(module: ModuleOp, lines: int) -> None:
    """Ops by dialect, size of the text, and the first lines of what is no weight."""
    text = module_text(module, locations=False)
    counts = dialect_counts(module)
    held = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    print(f"\n--- {level_of(module)}: {sum(counts.values())} ops ({held}), {len(text):,} bytes of text")
    shown = [line for line in text.splitlines() if _tells(line)][:lines]
    print("\n".join(line if len(line) <= 150 else f"{line[:147]}..." for line in shown))


def _tells(line: str) -> bool:
    return "#graph.weight" not in line and "builtin.module" not in line and line.strip() != "}"


def show_ladder(target: str, batch: int, lines: int) -> None:
    """Lower the network level by level and show each."""
    print(f"\n=== the ladder for {target}, batch {batch}")
    module = stepwell.import_model(MODEL, shapes={"image": (batch, 1, 8, 8)})
    show_level(module, lines)
    for level in LEVELS:
        begun = time.perf_counter()
        module = stepwell.lower(module, to=level, target=target)
        seconds = time.perf_counter() - begun
        show_level(module, lines)
        print(f"    ({seconds:.2f} s)")


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
    print(f"\n=== {engine.choice}")
    print(f"accuracy    {100 * accuracy:.2f} % of {len(labels)} held-out images, in {1e3 * seconds:.1f} ms")
    print(f"reference   {same} of {len(labels)} labels equal the NumPy reference's")
    print(report)
    return accuracy >= ACCURACY and same == len(labels)


def run(batch: int, lines: int, folder: Path) -> bool:
    """The whole demo; True when every section that this machine can run is right."""
    for target in ("cpu", "sm_90a"):
        show_ladder(target, batch, lines)
    begun = time.perf_counter()
    plan = stepwell.compile_plan(MODEL, target=["cpu", "sm_90a"], shapes={"image": (batch, 1, 8, 8)})
    path = folder / "digits.plan"
    write_plan(plan, path)
    seconds = time.perf_counter() - begun
    print(
        f"\n=== one plan with sections {', '.join(s.name for s in plan.sections)}: {path.stat().st_size:,} bytes, {seconds:.1f} s"
    )

    images, labels = load_heldout()
    reference = reference_labels(load_weights(MODEL), images)
    right = True
    for section in read_plan(path).sections:
        try:
            engine = load(path, section.name)
        except PlanError as reason:
            print(f"\n=== section {section.name} is not run on this machine: {reason}")
            right &= section.target != "cpu"
            continue
        with engine:
            right &= judge(engine, images, labels, reference)
    return right


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--batch", type=int, default=120, help="images per run (default 120)")
    parser.add_argument("--lines", type=int, default=6, help="lines of each level to print (default 6)")
    parser.add_argument("--keep", type=Path, help="keep the plan file in this folder")
    args = parser.parse_args()
    try:
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            right = run(args.batch, args.lines, args.keep)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                right = run(args.batch, args.lines, Path(scratch))
    except StepwellError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"\n{'done: every label is right' if right else 'FAILED'}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
