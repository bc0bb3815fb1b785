"""The repository itself: links, light imports, no path of anyone's machine, one style."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("frontends", "dialects", "transforms", "codegen", "runtime")
MACHINE_PATH = re.compile(rb"(?<![A-Za-z0-9_.])/(?:work|farm|root|home/[a-z]+|Users/[a-z]+|tmp/[a-z_]*jobs[^/]*)/")
HEAVY = ("xdsl", "onnx", "llvmlite", "onnxruntime", "hypothesis", "stepwell.frontends", "stepwell.dialects")


def tracked_files() -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name.decode() for name in listed.split(b"\0") if name]


@pytest.mark.parametrize("folder", FOLDERS)
def test_links_join_the_folders(folder: str) -> None:
    link = ROOT / "src" / "stepwell" / folder
    assert link.is_symlink() and link.readlink() == Path("../..") / folder
    assert link.resolve() == ROOT / folder


@pytest.mark.parametrize("module", ["stepwell", "stepwell.runtime", "stepwell.runtime.errors"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in loaded if name.startswith(HEAVY)]


def test_runtime_needs_numpy_only() -> None:
    blocked = ("xdsl", "onnx", "llvmlite", "safetensors", "stepwell.frontends", "stepwell.dialects", "stepwell.passes")
    modules = sorted(p.stem for p in (ROOT / "runtime").glob("*.py") if p.stem not in ("__init__",))
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import importlib\n"
        f"for name in {modules!r}: importlib.import_module('stepwell.runtime.' + name)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


def test_no_tracked_file_holds_a_machine_path() -> None:
    found = []
    for path in tracked_files():
        if path.is_symlink() or not path.is_file():
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]!r}" for match in MACHINE_PATH.finditer(path.read_bytes())]
    assert not [line for line in found if "test_repository.py" not in line]


def test_python_files_stay_short() -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for p in tracked_files()
        if p.suffix == ".py" and p.exists()
        for n in [_lines(p)]
        if n > 400
    }
    assert not long


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())
