"""The fuzzer's parsers: each reads its seeds, each mutator makes other files, and what reading may not end in is seen. And what the fuzzer found."""

from __future__ import annotations

import subprocess
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest

from stepwell.runtime.errors import InternalError, ModelError
from stepwell.testing.hostile import fuzz, parsers
from stepwell.testing.hostile.parsers import PARSERS, Parser, judge, packed, unpacked

QUICK = [name for name in PARSERS if name not in ("mlir", "plan", "safetensors")]
"""Those whose seeds need no compilation: what the others read is changed by the nets of this folder."""
SEEDS, CHANGED = 6, 12


@pytest.mark.parametrize("name", QUICK)
def test_a_few_changed_files(name: str, tmp_path: Path) -> None:
    """Seeds are read; a change of one is read or refused as it must be."""
    parser, random = PARSERS[name], Random(name)
    seeds = [parts for _, parts in zip(range(SEEDS), parser.seeds())]
    if not seeds:
        pytest.skip("the corpora are not here: set STEPWELL_CORPORA")
    faults = {fault.key: fault.text for parts in seeds if (fault := judge(parser, parts, tmp_path))}
    changed = 0
    for _ in range(CHANGED):
        parts = list(random.choice(seeds))
        at = random.randrange(len(parts))
        before, parts[at] = parts[at], parser.mutate(at, parts[at], random)
        changed += before != parts[at]
        if fault := judge(parser, tuple(parts), tmp_path):
            faults[fault.key] = fault.text
    assert not faults
    assert changed > CHANGED // 2


@pytest.mark.parametrize("count", [1, 2, 3])
def test_inputs_of_several_files_are_one_string(count: int) -> None:
    parts = tuple(bytes([n]) * n for n in range(count))
    assert unpacked(packed(parts), count) == parts
    assert len(unpacked(b"\xff" * 3, count)) == count


def raises(error: BaseException) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        raise error

    return read


def lasts(folder: Path) -> object:
    while True:
        time.process_time()


def warns(folder: Path) -> object:
    warnings.warn("overflow", RuntimeWarning, stacklevel=1)
    return None


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a fault of ours": (raises(KeyError("x")), "KeyError at "),
    "exit 70": (raises(InternalError("oh")), "exit 70 at "),
    "no memory": (raises(MemoryError()), "MemoryError at "),
    "no place": (raises(ModelError("it is wrong", where="net.onnx")), "no place at "),
    "no end": (lasts, "hang at "),
    "a warning": (warns, "RuntimeWarning at "),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_a_fault(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsers, "SECONDS", 0.05)
    read, key = FAULTS[name]
    fault = judge(Parser(("x",), list, read, lambda part, data, random: data), (b"",), tmp_path)
    assert fault is not None
    assert fault.key.startswith(key)


@pytest.mark.parametrize(
    "error", [ModelError("node 'a' is wrong"), ModelError("the file ends at byte 7", where="net.onnx")]
)
def test_what_is_none(error: ModelError, tmp_path: Path) -> None:
    assert judge(Parser(("x",), list, raises(error), lambda part, data, random: data), (b"",), tmp_path) is None


def test_a_found_case_is_made_smaller(tmp_path: Path) -> None:
    def read(folder: Path) -> None:
        if b"!" in (folder / "b").read_bytes():
            raise KeyError("!")

    parser = Parser(("a", "b"), list, read, lambda part, data, random: data)
    path = tmp_path / "found"
    path.write_bytes(packed((b"abc" * 9, b"de" * 20 + b"!" + b"fg" * 9)))
    fault = judge(parser, unpacked(path.read_bytes(), 2), tmp_path / "read")
    assert fault is not None
    fuzz.smaller(parser, fault.key, path)
    assert unpacked(path.read_bytes(), 2) == (b"", b"!")


def test_what_a_child_tells_is_added_up() -> None:
    told = '{"key": "k", "text": "t", "input": "f"}\n'
    log = "#2\tINITED cov: 10 ft: 11 corp: 1/1b\n#4096\tpulse  cov: 12 ft: 13\nTest unit written to /x/timeout-1\n"
    findings = fuzz.Findings("onnx")
    for _ in range(2):
        fuzz._add(findings, subprocess.CompletedProcess([], 0, told, log))
    assert (findings.cases, findings.coverage, sorted(findings.faults)) == (8192, 12, ["k", "timeout /x/timeout-1"])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: pip install 'stepwell[fuzz]'")
def test_the_fuzzer_runs(tmp_path: Path) -> None:
    findings = fuzz.fuzz("prototxt", 40, tmp_path)
    assert findings.cases > 100
    assert findings.coverage > 100
