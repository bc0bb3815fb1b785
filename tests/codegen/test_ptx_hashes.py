"""The PTX of fast kernels, by hash: a change that should leave them alone does."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from stepwell.testing import ptx_hashes

ROOT = Path(__file__).resolve().parents[2]
TABLE = json.loads((ROOT / ptx_hashes.TABLE).read_text())
UPDATE = "if it means to change them: python -m stepwell.testing.ptx_hashes --update, with the measurements"
same_llvm = pytest.mark.skipif(
    version("llvmlite") != TABLE["llvmlite"], reason=f"another LLVM: the table is of llvmlite {TABLE['llvmlite']}"
)
KERNELS = {name: digest for name, digest in TABLE.items() if name != "llvmlite"}


@same_llvm
def test_fast_kernels_keep_their_ptx() -> None:
    found = ptx_hashes.hashes(ROOT, every=4)
    changed = ptx_hashes.differences(found, {name: KERNELS[name] for name in KERNELS if name in found})
    assert len(found) > 8 and not changed, "\n".join([*changed, UPDATE])


@same_llvm
@pytest.mark.slow
def test_all_fast_kernels_keep_their_ptx() -> None:
    changed = ptx_hashes.differences(ptx_hashes.hashes(ROOT), KERNELS)
    assert not changed, "\n".join([*changed, UPDATE])


def test_a_changed_instruction_is_seen() -> None:
    case = ptx_hashes.cases()[0]
    ((name, text),) = ptx_hashes.entries(ptx_hashes.ptx_of_case(case))
    assert name == "kernel" and text.rstrip().endswith("}") and "wgmma.mma_async" in text
    other = {case.name: ptx_hashes.digest(text.replace("add.s64", "sub.s64", 1))}
    expected = {case.name: ptx_hashes.digest(text)}
    assert ptx_hashes.differences(other, expected) == [f"{case.name}: its PTX is another"]
    assert ptx_hashes.differences(expected, {**expected, "x": ""}) == ["x: is no longer made"]
    assert ptx_hashes.differences({**expected, "x": ""}, expected) == ["x: is not in the table"]
