"""The trained networks of the corpora, each through its door and the graph interpreter, against what another program computed for its inputs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import stepwell
from stepwell.frontends.doors import DOORS
from stepwell.testing.conformance.case import Check, Outcome
from stepwell.testing.conformance.run import Make
from stepwell.testing.corpora import absent, corpora, manifest, references, relative_difference

TOLERANCE = 1e-4
"""Of the largest element of the reference: a tenth of what is allowed."""
QUANTISED = 5e-2
"""The same where activations are rounded to 8 bits: a sum in another order may take the next integer, and layers carry it on."""
SIGMOID = 2.0**-22
"""ONNX Runtime computes a sigmoid within this, whatever its size: yunet_n_320's objectness is 1e-5 where it sees no face."""


def corpus_models() -> dict[str, Make]:
    """Name -> check, of the networks that have references."""
    if absent():
        return {}
    entries = {entry["name"]: entry for entry in manifest("models") if "outputs" in entry}
    return {name: partial(Check, name, partial(run_model, name, entry)) for name, entry in sorted(entries.items())}


def run_model(name: str, entry: Any) -> Outcome:
    """Import with the shapes of the reference's inputs, interpret, compare every output."""
    folder = corpora() / "models" / name
    inputs, outputs = references(folder)
    model, weights = _files(folder, entry["files"])
    shapes = {key: array.shape for key, array in inputs.items()}
    asked = entry["outputs"] if entry["frontend"] == "tf" else None
    module = stepwell.import_model(model, weights=weights, outputs=asked, shapes=shapes)
    feeds = {key: array.astype(np.float32) if array.dtype == np.float64 else array for key, array in inputs.items()}
    results = stepwell.interpret(module, feeds)
    tolerance = QUANTISED if "int8" in name else TOLERANCE
    absolute = SIGMOID if entry["frontend"] == "onnx" else 0.0
    for key, wanted in outputs.items():
        if found := relative_difference(results[key], wanted, tolerance, absolute):
            return Outcome("wrong", f"{key}: {found}")
    return Outcome("right")


def _files(folder: Path, names: list[str]) -> tuple[Path, Path | None]:
    """The model (a file that a door reads, or a SavedModel's folder), and the weights beside it."""
    weights = [name for name in names if name.endswith(".caffemodel")]
    (model,) = [name for name in names if Path(name).suffix in DOORS or (folder / name).is_dir()]
    return folder / model, folder / weights[0] if weights else None
