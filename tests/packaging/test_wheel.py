"""The wheel holds the five folders and the facade as one package, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("frontends", "dialects", "transforms", "codegen", "runtime")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    code = f"import hatchling.build as b; b.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def modules_of(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*.py") if "__pycache__" not in p.parts}


def test_wheel_holds_every_module(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if name.startswith("stepwell/") and name.endswith(".py")}
    wanted = {f"stepwell/{folder}/{name}" for folder in FOLDERS for name in modules_of(ROOT / folder)}
    facade = ROOT / "src" / "stepwell"
    for path, folders, files in os.walk(facade):  # does not follow the links
        folders[:] = [f for f in folders if f != "__pycache__"]
        wanted |= {
            (Path("stepwell") / Path(path).relative_to(facade) / f).as_posix() for f in files if f.endswith(".py")
        }
    assert names == wanted
    assert "stepwell/py.typed" in wheel.namelist()


def test_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"stepwell"}


def test_entry_points(wheel: zipfile.ZipFile) -> None:
    name = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    text = wheel.read(name).decode()
    for line in (
        "stepwell = stepwell.cli:main",
        "stepwell-opt = stepwell.cli:opt_main",
        "stepwell = stepwell:UNIVERSE",
        "stepwell = stepwell.testing.plugin",
    ):
        assert line in text
