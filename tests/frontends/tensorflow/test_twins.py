"""The digit classifier through the doors of TensorFlow: the numbers of the ONNX file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stepwell

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
SHAPES = {"image": (360, 1, 8, 8)}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The frozen graph and the SavedModel."""
    monkeypatch.syspath_prepend(DIGITS)
    import as_tensorflow  # type: ignore[import-not-found, unused-ignore]

    made: tuple[Path, Path] = as_tensorflow.write(tmp_path)
    for name in ("as_tensorflow", "reference"):
        sys.modules.pop(name, None)
    return made


def _run(path: Path, images: Any, names: list[str]) -> dict[str, Any]:
    results = stepwell.interpret(stepwell.import_model(path, outputs=names, shapes=SHAPES), {"image": images})
    return {name: np.asarray(value, np.float64) for name, value in results.items()}


def test_digits(files: tuple[Path, Path]) -> None:
    """Up to GELU to the last bit; behind it, spelled in five operators, in the last places; the labels are the same, and those of both files to the last bit."""
    with np.load(DIGITS / "heldout.npz") as held:
        images, labels = held["images"], held["labels"]
    names = ["pool", "head/hidden_bias", "logits"]
    ours = _run(files[0], images, names)
    theirs = _run(DIGITS / "digits.onnx", images, names)
    for name in names[:2]:
        assert np.array_equal(ours[name], theirs[name]), name
    assert np.abs(ours["logits"] - theirs["logits"]).max() < 1e-5 * np.abs(theirs["logits"]).max()
    assert np.array_equal(ours["logits"].argmax(1), theirs["logits"].argmax(1))
    assert (ours["logits"].argmax(1) == labels).mean() > 0.97
    assert np.array_equal(_run(files[1], images, ["logits"])["logits"], ours["logits"])


def test_digits_compiled(files: tuple[Path, Path]) -> None:
    """Both files compile, and give the labels that they have in the interpreter."""
    with np.load(DIGITS / "heldout.npz") as held:
        images = held["images"][:12]
    wanted = stepwell.interpret(
        stepwell.import_model(files[0], outputs=["logits"], shapes={"image": (12, 1, 8, 8)}), {"image": images}
    )["logits"]
    for path in files:
        engine = stepwell.compile(path, outputs=["logits"], shapes={"image": (12, 1, 8, 8)}, target="cpu")
        got = np.asarray(engine.run({"image": images})["logits"])
        np.testing.assert_allclose(got, np.asarray(wanted), rtol=1e-4, atol=1e-4)
