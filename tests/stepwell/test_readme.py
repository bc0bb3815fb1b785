"""What the README says of installing is what there is; what it shows is executed by tests/docs/test_tutorial.py."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_every_extra_is_told() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", README, re.MULTILINE))
    assert set(rows) == set(project["optional-dependencies"])
    (needed,) = re.findall(r"^\| \(none\) \| ([^|]+) \|", README, re.MULTILINE)
    assert set(needed.strip().split(", ")) == {re.split(r"[<>=]", name)[0] for name in project["dependencies"]}


def test_commands_and_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^(\w[\w-]*):", makefile, re.MULTILINE))
    told = set(re.findall(r"`make ([\w-]+)`", README)) | set(re.findall(r"^make ([\w-]+)", README, re.MULTILINE))
    assert {"demo", "test", "passes"} <= told <= targets
    assert ". .venv/bin/activate" in README and "source $(BIN)/activate" in makefile


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links and not [link for link in links if not (ROOT / link).exists()]
