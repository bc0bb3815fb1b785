"""SHA-256 of the PTX of kernels that are measured fast: `python -m stepwell.testing.ptx_hashes` prints what differs from the checked-in table,
`--update` writes it anew.

A change of the lowering that should leave these kernels alone is held to it; one that means to change them updates the table in the same commit,
with the measurements.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from xdsl.parser import Parser

from stepwell.api.compile import import_model, lower
from stepwell.codegen.llvm_text import translate
from stepwell.codegen.ptx import emit_ptx
from stepwell.driver.files import write_whole
from stepwell.driver.modules import keep_weights, make_context
from stepwell.testing.gpu_contractions import Case, Ending, Schedule, gemm
from stepwell.testing.gpu_kernels import small_cases
from stepwell.types.targets import SM_90A

DIGITS = Path("examples/digits/digits.onnx")
TABLE = Path("tests/codegen/ptx_hashes.json")


def cases() -> list[Case]:
    """The small kernels of every kind, and products whose registers run out first."""
    wide = [
        gemm(f"gelu_{rows}x{columns}", rows, columns, 64, "f16", Schedule((rows, columns), 3), Ending("gelu"))
        for rows, columns in ((128, 128), (128, 256), (64, 256))
    ]
    return [*small_cases(), *wide]


def ptx_of_case(case: Case) -> str:
    """The PTX of a module at the tile level."""
    ctx = make_context(case.weights)
    module = keep_weights(Parser(ctx, case.text).parse_module(), case.weights)
    return emit_ptx(translate(lower(module, "llvm", target="sm_90a"), SM_90A))


def ptx_of_digits(model: Path, precision: str, batch: int) -> str:
    """The PTX of the digits example, all its kernels."""
    module = import_model(model, shapes={"image": (batch, 1, 8, 8)})
    return emit_ptx(translate(lower(module, "llvm", target="sm_90a", precision=precision), SM_90A))


def entries(ptx: str) -> Iterator[tuple[str, str]]:
    """Each kernel of a PTX module: its name, and its text with its parameters."""
    for part in ptx.split(".entry ")[1:]:
        yield part[: part.index("(")].strip(), part[: part.rindex("}") + 1]


def digest(text: str) -> str:
    """The first 16 hexadecimal digits of the text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hashes(root: Path, every: int = 1) -> dict[str, str]:
    """Kernel -> digest: the cases, then the digits network at batch 120 in each precision; of each list one entry in `every`. `root`: of
    the repository."""
    found = {case.name: digest(text) for case in cases()[::every] for _, text in entries(ptx_of_case(case))}
    for precision in ("fp16", "model", "fp32")[::every]:
        for name, text in entries(ptx_of_digits(root / DIGITS, precision, 120)):
            found[f"digits_{precision}/{name}"] = digest(text)
    return found


def differences(found: dict[str, str], table: dict[str, str]) -> list[str]:
    """What is new, gone or another text, in words."""
    gone = [f"{name}: is no longer made" for name in table if name not in found]
    changed = [f"{name}: its PTX is another" for name in found if name in table and found[name] != table[name]]
    return [*gone, *changed, *(f"{name}: is not in the table" for name in found if name not in table)]


def main(arguments: list[str] | None = None) -> int:
    """Compare with the table, or write it."""
    parser = argparse.ArgumentParser(prog="python -m stepwell.testing.ptx_hashes", description=__doc__)
    parser.add_argument("--update", action="store_true", help=f"write {TABLE}")
    options = parser.parse_args(arguments)
    found = hashes(Path())
    if options.update:
        write_whole(TABLE, json.dumps({"llvmlite": version("llvmlite"), **found}, indent=1) + "\n")
        return 0
    table = json.loads(TABLE.read_text())
    table.pop("llvmlite")
    listed = differences(found, table)
    print("\n".join(listed) or f"{len(found)} kernels as in {TABLE}")
    return bool(listed)


if __name__ == "__main__":
    sys.exit(main())
