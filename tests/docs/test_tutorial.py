"""The pages that show commands and code do what they show: each runs in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwell.testing.pages import PageError, run_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs" / "tutorial").glob("*.md"), ROOT / "docs" / "ladder.md", ROOT / "README.md"])
DIGITS = ROOT / "examples" / "digits"
NAMES = ("digits.onnx", "heldout.npz", "as_caffe.py", "as_tensorflow.py", "as_network.py", "reference.py")
FILES = {f"{folder}{name}": DIGITS / name for name in NAMES for folder in ("", "examples/digits/")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_the_page_is_as_it_says(page: Path, tmp_path: Path) -> None:
    try:
        run_page(page, FILES, tmp_path)
    except PageError as error:
        raise PageError(f"{error}\nIf what was printed is right, run make docs.") from None
