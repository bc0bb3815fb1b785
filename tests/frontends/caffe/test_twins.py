"""The same network through two doors gives the same numbers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from xdsl.dialects.builtin import ModuleOp

import stepwell
from stepwell.dialects.numpy_types import Array
from stepwell.testing.corpora import absent, corpora, references

Floats: TypeAlias = npt.NDArray[np.float64]
DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The digit classifier as Caffe's files, for 12 images."""
    monkeypatch.syspath_prepend(DIGITS)
    import as_caffe  # type: ignore[import-not-found, unused-ignore]

    made: tuple[Path, Path] = as_caffe.write(tmp_path, batch=12)
    for name in ("as_caffe", "reference"):
        sys.modules.pop(name, None)
    return made


def _run(module: ModuleOp, inputs: Mapping[str, Array]) -> dict[str, Floats]:
    return {name: np.asarray(value, np.float64) for name, value in stepwell.interpret(module, inputs).items()}


def _heldout() -> tuple[Array, Array]:
    with np.load(DIGITS / "heldout.npz") as held:
        return held["images"], held["labels"]


def test_digits(files: tuple[Path, Path]) -> None:
    """Up to GELU, which Caffe spells with a tanh, to the last bit; the labels are the same."""
    images, labels = _heldout()
    model, shapes = DIGITS / "digits.onnx", {"image": (360, 1, 8, 8)}
    names = ["pool", "head/hidden_bias", "logits"]
    ours = _run(stepwell.import_model(*files, outputs=names, shapes=shapes), {"image": images})
    theirs = _run(stepwell.import_model(model, outputs=names, shapes=shapes), {"image": images})
    for name in names[:2]:
        assert np.array_equal(ours[name], theirs[name]), name
    assert np.array_equal(ours["logits"].argmax(1), theirs["logits"].argmax(1))
    assert (ours["logits"].argmax(1) == labels).mean() > 0.97
    assert 0 < np.abs(ours["logits"] - theirs["logits"]).max() < 0.02


def test_digits_compiled(files: tuple[Path, Path]) -> None:
    """What the Caffe files compile to gives the labels that they have in the interpreter."""
    images, _ = _heldout()
    results = stepwell.compile(*files, target="cpu").run({"image": images[:12]})
    wanted = _run(stepwell.import_model(*files), {"image": images[:12]})
    np.testing.assert_allclose(np.asarray(results["logits"]), wanted["logits"], rtol=1e-4, atol=1e-4)


def _priors() -> Floats:
    """UltraFace's prior boxes for 320 x 240, as centre and extent."""
    boxes: list[tuple[float, ...]] = []
    for stride, sizes in ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256))):
        rows, columns = -(-240 // stride), -(-320 // stride)
        boxes += [
            ((x + 0.5) / columns, (y + 0.5) / rows, size / 320, size / 240)
            for y, x in product(range(rows), range(columns))
            for size in sizes
        ]
    return np.clip(np.asarray(boxes, np.float64), 0, 1)


@pytest.mark.skipif(bool(absent()), reason=absent())
def test_faces() -> None:
    """UltraFace as ONNX has the decoding of its boxes in the file; as Caffe it ends with the offsets from its prior boxes."""
    models = corpora() / "models"
    inputs, _ = references(models / "ultraface_rfb_320")
    folder = models / "ultraface_rfb_320_caffe"
    caffe = stepwell.import_model(folder / "RFB-320.prototxt", folder / "RFB-320.caffemodel")
    ours = _run(caffe, inputs)
    theirs = _run(stepwell.import_model(models / "ultraface_rfb_320" / "version-RFB-320.onnx"), inputs)
    np.testing.assert_allclose(ours["scores"], theirs["scores"], rtol=0, atol=1e-6)
    offsets, priors = ours["boxes"][0], _priors()
    centre = offsets[:, :2] * 0.1 * priors[:, 2:] + priors[:, :2]
    half = np.exp(offsets[:, 2:] * 0.2) * priors[:, 2:] / 2
    boxes = np.concatenate([centre - half, centre + half], 1)
    np.testing.assert_allclose(boxes, theirs["boxes"][0], rtol=0, atol=1e-5)
