"""Write the reference pages: `python -m stepwell.reference`, in a checkout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stepwell.driver.files import write_whole
from stepwell.reference.dialects import dialect_pages
from stepwell.reference.examples import collect, modules_of
from stepwell.reference.operators import operator_page
from stepwell.reference.passes import pass_page
from stepwell.reference.suites_page import suites_page
from stepwell.reference.support_page import support_page
from stepwell.reference.targets import target_page


def reference_pages(tests: Path) -> dict[str, str]:
    """File name -> page. Examples come from the IR tests under `tests`, what operators promise from the records in `tests/conformance`."""
    return {
        **dialect_pages(collect(modules_of(tests))),
        "passes.md": pass_page(),
        "onnx.md": operator_page(tests / "conformance"),
        "targets.md": target_page(),
        "support.md": support_page(),
        "conformance.md": suites_page(tests / "conformance"),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, and remove those that nothing writes any more."""
    parser = argparse.ArgumentParser(prog="python -m stepwell.reference", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("docs/reference"))
    parser.add_argument("--tests", type=Path, default=Path("tests"))
    args = parser.parse_args(argv)
    pages = reference_pages(args.tests)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        write_whole(args.folder / name, text)
    for path in args.folder.glob("*.md"):
        if path.name not in pages:
            path.unlink()
    print(f"{args.folder}: {len(pages)} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
