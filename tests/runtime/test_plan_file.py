"""Plan files: what is written is read, constants are mapped, and nothing damaged, truncated, foreign or newer gets
in."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.runtime import Engine, Plan, PlanError, UsageError, load, read_plan, write_plan
from stepwell.runtime.plan_file import PAGE, Section

X = np.arange(32, dtype=np.float32).reshape(4, 8)


@pytest.fixture
def path(make_plan: Callable[..., Plan], tmp_path: Path) -> Path:
    """A saved plan."""
    write_plan(make_plan(pipelines={"cpu": "a,b"}), tmp_path / "net.plan")
    return tmp_path / "net.plan"


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED) -> Path:
    """The plan with some members changed, written by the standard library."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    target = path.with_name("changed.plan")
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def change_manifest(path: Path, **values: Any) -> Path:
    """The plan with other values in its manifest."""

    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps({**json.loads(members["manifest.json"]), **values}).encode()

    return rewrite(path, change)


def test_round_trip(path: Path, make_plan: Callable[..., Plan]) -> None:
    saved, read = make_plan(), read_plan(path)
    assert read.details == {"pipelines": {"cpu": "a,b"}}
    section, original = read.sections[0], saved.sections[0]
    assert (section.name, section.module, section.program) == (original.name, original.module, original.program)
    assert bytes(section.code["o"]) == original.code["o"]
    assert bytes(section.constants) == original.constants
    with load(path, threads=2) as engine:
        np.testing.assert_array_equal(engine.run({"x": X})["y"], 4 * X)
        engine.save(path.with_name("again.plan"))
    assert path.with_name("again.plan").read_bytes() == path.read_bytes()


def test_standard_tools_open_it_and_constants_can_be_mapped(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "manifest.json", "cpu/program.json", "cpu/module.mlir", "cpu/code.o", "constants.cpu.bin",
        ]  # fmt: skip
        assert archive.read("cpu/module.mlir") == b"module"
    constants = np.frombuffer(read_plan(path).sections[0].constants, np.uint8)
    assert constants.ctypes.data % PAGE == 0


def test_the_same_plan_gives_the_same_bytes(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    for name in ("a.plan", "b.plan"):
        write_plan(make_plan(), tmp_path / name)
    assert (tmp_path / "a.plan").read_bytes() == (tmp_path / "b.plan").read_bytes()


def test_writing_leaves_no_half_file(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    target = tmp_path / "net.plan"
    target.write_bytes(b"old")
    broken = make_plan()
    with pytest.raises(TypeError):
        write_plan(Plan(broken.sections, {"bad": object()}), target)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["net.plan"]
    with pytest.raises(UsageError, match="cannot write: No such file"):
        write_plan(broken, tmp_path / "missing" / "net.plan")


def test_every_truncation_is_refused(path: Path) -> None:
    data = path.read_bytes()
    for length in [*range(0, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(PlanError) as failure:
            read_plan(path)
        assert failure.value.exit_code == 4 and str(path) in str(failure.value)


@given(st.data())
def test_no_damaged_byte_of_a_member_goes_unseen(
    make_plan: Callable[..., Plan], tmp_path_factory: Any, data: Any
) -> None:
    path = tmp_path_factory.mktemp("damage") / "net.plan"
    write_plan(make_plan(), path)
    good = path.read_bytes()
    at, flip = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(1, 255))
    path.write_bytes(good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :])
    try:
        read = read_plan(path)
    except PlanError:
        return
    original = make_plan().sections[0]
    assert bytes(read.sections[0].constants) == original.constants
    assert bytes(read.sections[0].code["o"]) == original.code["o"]
    assert read.sections[0].program == original.program


@given(st.binary(max_size=300))
def test_any_bytes(tmp_path_factory: Any, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "net.plan"
    path.write_bytes(data)
    with pytest.raises(PlanError):
        read_plan(path)


def test_foreign_and_newer_files(path: Path, tmp_path: Path) -> None:
    def drop(members: dict[str, bytes]) -> None:
        del members["manifest.json"]

    cases: list[tuple[dict[str, Any], str]] = [
        ({"format": "none"}, "manifest is foreign"),
        ({"format": "other"}, "manifest is foreign"),
        ({"version": 2}, r"is a newer plan \(format 2, this runtime reads 1\)\n  hint: upgrade"),
        ({"version": "1"}, "has no version"),
        ({"sections": []}, "lists no sections"),
        ({"sections": ["cpu"]}, "describes a section badly"),
        ({"sections": [{"name": "../x", "target": "cpu", "level": ""}]}, "is missing"),
    ]
    for values, message in cases:
        with pytest.raises(PlanError, match=message):
            read_plan(change_manifest(path, **values))
    with pytest.raises(PlanError, match="has no manifest.json"):
        read_plan(rewrite(path, drop))
    rewrite(path, lambda members: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(PlanError, match="is compressed or encrypted"):
        read_plan(path.with_name("changed.plan"))
    for missing in ("nothing.plan", "."):
        with pytest.raises(PlanError, match="cannot be read"):
            read_plan(tmp_path / missing)


def test_members_are_checked(path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["constants.cpu.bin"] = bytes(len(members["constants.cpu.bin"]))

    with pytest.raises(PlanError, match="the checksum of constants.cpu.bin is wrong"):
        read_plan(rewrite(path, change))

    def exchange(members: dict[str, bytes]) -> None:
        members["cpu/module.mlir"] = b"other"
        manifest = json.loads(members["manifest.json"])
        digest = hashlib.sha256(b"other").hexdigest()
        manifest["members"]["cpu/module.mlir"] = {"size": 5, "sha256": digest}
        members["manifest.json"] = json.dumps(manifest).encode()

    with pytest.raises(PlanError, match="was made from another module"):
        read_plan(rewrite(path, exchange))


def test_sections_are_chosen_best_first(
    make_plan: Callable[..., Plan], program: dict[str, Any], tmp_path: Path
) -> None:
    """A level that no machine has is skipped, with the reason, and the other section runs."""
    good = make_plan().sections[0]
    better = Section(
        "cpu_v9", "cpu", "x86-64-v9", {**program, "level": "x86-64-v9"}, "module", good.code, good.constants
    )
    write_plan(Plan((good, better)), tmp_path / "two.plan")
    with load(tmp_path / "two.plan") as engine:
        assert engine.section.name == "cpu"
        assert engine.choice.startswith(
            'section cpu on cpu (x86-64-v2); cpu_v9 is skipped: the code is for "x86-64-v9"'
        )
    with pytest.raises(PlanError, match="no section fits this machine: cpu_v9: "):
        load(tmp_path / "two.plan", target="cpu_v9")


def test_damaged_code_is_an_error_not_a_reason_to_skip(make_plan: Callable[..., Plan]) -> None:
    good = make_plan().sections[0]
    wrong = Section("cpu", "cpu", good.level, good.program, "module", {"o": b"junk"}, good.constants)
    with pytest.raises(PlanError, match="cpu/code.o: the native code is truncated"):
        Engine(Plan((wrong,)))
