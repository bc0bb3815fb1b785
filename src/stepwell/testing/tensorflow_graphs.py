"""The graphs that TensorFlow computed references for, through the importer and the graph interpreter.

python -m stepwell.testing.tensorflow_graphs            every graph: right, refused (by reason), wrong
python -m stepwell.testing.tensorflow_graphs 'cnn*'     those whose name matches
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import ModuleOp

import stepwell
from stepwell.dialects.numpy_types import Array
from stepwell.runtime.errors import StepwellError, UsageError
from stepwell.testing.conformance.case import Outcome

TOLERANCE = 1e-3
"""Of the largest finite element of the reference; infinities and NaN must stand at the same places."""


def corpora() -> Path:
    """The folder of the corpora: STEPWELL_CORPORA, or ../shared/corpora beside the checkout."""
    return Path(os.environ.get("STEPWELL_CORPORA", Path.cwd().parent / "shared" / "corpora"))


def graphs(folder: Path, pattern: str = "*") -> Iterator[tuple[str, Path, list[str]]]:
    """Name, file and outputs of every graph in the manifest that matches."""
    for name, entry in json.loads((folder / "tf_graphs" / "manifest.json").read_text()).items():
        if fnmatch(name, pattern):
            yield name, folder / "tf_graphs" / name / "graph.pb", entry["outputs"]


def run_graph(path: Path, outputs: Sequence[str]) -> Outcome:
    """Import the graph with the inputs' shapes, interpret it and compare with io.npz beside it."""
    with np.load(path.parent / "io.npz") as held:
        arrays = {key: held[key] for key in held.files}
    inputs = {key[4:]: array for key, array in arrays.items() if key.startswith("in__")}
    try:
        module = _imported(path, outputs, {name: array.shape for name, array in inputs.items()})
    except StepwellError as error:
        return Outcome("refused", "; ".join(getattr(error, "reasons", ()) or [str(error)]))
    try:
        results = stepwell.interpret(module, {k: v for k, v in inputs.items() if k in _input_names(module)})
    except StepwellError as error:
        return Outcome("refused", f"run: {error}")
    differences = [_difference(results[name], arrays[f"out__{name}"]) for name in outputs]
    found = next((text for text in differences if text), "")
    return Outcome("wrong" if found else "right", found)


def _imported(path: Path, outputs: Sequence[str], shapes: dict[str, tuple[int, ...]]) -> ModuleOp:
    """Some of a graph's placeholders may hang on nothing that is asked for: those shapes are not said, nor those without elements, which no option can say."""
    known = {name: shape for name, shape in shapes.items() if 0 not in shape}
    while True:
        try:
            return stepwell.import_model(path, outputs=outputs, shapes=known)
        except UsageError as error:
            unused = [name for name in known if repr(name) in str(error) and "no input" in str(error)]
            if not unused:
                raise
            del known[unused[0]]


def _input_names(module: ModuleOp) -> list[str]:
    from stepwell.driver.signature import signature_of

    return [entry.name for entry in signature_of(module).inputs]


def _difference(got: Array, wanted: Array) -> str:
    """What differs, or nothing."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    if wanted.dtype.kind not in "fV":
        return "" if np.array_equal(got, wanted) else "integers differ"
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    ours, theirs = [np.where(np.isfinite(side), 0, side) for side in (a, b)]
    if not np.array_equal(ours, theirs, equal_nan=True):
        return "infinities or NaN differ"
    error = np.abs(np.where(np.isfinite(a), a - b, 0)).max(initial=0)
    largest = np.abs(b[np.isfinite(b)]).max(initial=0)
    return "" if error <= TOLERANCE * largest else f"off by {error:.3g}, the largest is {largest:.3g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every graph that is not right, the reasons by number, and the counts; 1 where one is wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    folder, counts, reasons = corpora(), Counter[str](), Counter[str]()
    if not folder.is_dir():
        print(f"error: no corpora at {folder}: set STEPWELL_CORPORA", file=sys.stderr)
        return 2
    for name, path, outputs in graphs(folder, given[0] if given else "*"):
        start = time.monotonic()
        try:
            outcome = run_graph(path, outputs)
        except Exception as error:  # noqa: BLE001 - whatever happens to a case is its outcome
            outcome = Outcome("fault", f"{type(error).__name__}: {error}")
        counts[outcome.status] += 1
        if outcome.status != "right":
            print(f"{outcome.status} {name}: {outcome.reason} ({time.monotonic() - start:.1f} s)")
            reasons[outcome.reason.partition(" (")[2].partition("; ")[0] or outcome.reason] += 1
    for reason, count in reasons.most_common():
        print(f"{count:5} {reason}")
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    return 1 if counts["wrong"] or counts["fault"] else 0


if __name__ == "__main__":
    sys.exit(main())
