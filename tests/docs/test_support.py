"""The table of what runs where is what was seen, and every operator with a converter is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepwell.api import support
from stepwell.api.support import DOORS, RUNNERS, Seen, read, shipped, written
from stepwell.testing.conformance.network_layers import LAYERS
from stepwell.testing.conformance.support import (
    caffe_support,
    network_support,
    onnx_support,
    tensorflow_support,
)
from stepwell.testing.corpora import absent
from stepwell.testing.run_line import call

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "tests/conformance"
FILE = ROOT / "src/stepwell/api/support.txt"
ADVICE = "python -m stepwell.testing.conformance.support, then make docs"


def _not_in_file(found: list[Seen]) -> list[Seen]:
    table = read(FILE.read_text())
    rows = [(seen, table.get((seen.door, seen.operator), {})) for seen in found]
    return [seen for seen, row in rows if seen.element not in row.get(seen.runner, ())]


def test_the_file_is_written_as_it_is_read() -> None:
    text = FILE.read_text()
    rows = read(text).items()
    found = [Seen(*key, element, runner) for key, row in rows for runner, types in row.items() for element in types]
    assert written(found) == text
    changed = [Seen("onnx", "Abs", "i4", "cpu"), *found]
    assert _not_in_file(changed) == changed[:1]


def test_every_operator_of_the_file_has_a_converter() -> None:
    gone = set(read(FILE.read_text())) - set(support.converted())
    assert not gone, f"{sorted(gone)}: {ADVICE}"
    assert set(shipped()) == set(support.converted())


def test_every_layer_of_the_network_api_is_looked_at() -> None:
    assert set(LAYERS) == set(support.network_layers())


def test_a_sample_of_what_runs_is_in_the_file() -> None:
    """A case in so many, and of the layers of the network API."""
    found = [*onnx_support(RECORDS, share=193), *network_support(share=23)]
    if not absent():
        found += [*tensorflow_support(RECORDS, share=151), *caffe_support(RECORDS, share=60)]
    assert {seen.door for seen in found} == set(DOORS) if not absent() else True
    assert not _not_in_file(found), ADVICE


@pytest.mark.parametrize("words, shown, hidden", [
    (["--door", "onnx", "--operator", "conv*"], "ConvTranspose", "Relu"),
    (["--door", "network"], "add_convolution", "onnx"),
    (["--on", "cpu", "--type", "f16", "--operator", "MatMul"], "onnx       MatMul", "caffe"),
    (["--on", "sm_90a"], "sm_90a: ", "graph: "),
])  # fmt: skip
def test_the_command_prints_a_part(words: list[str], shown: str, hidden: str) -> None:
    code, out, said = call(["stepwell", "ops", *words])
    assert code == 0, said
    assert shown in out and hidden not in out and out.splitlines()[-1].endswith("operators")


def test_the_command_prints_json() -> None:
    _, out, _ = call(["stepwell", "ops", "--operator", "Abs", "--json"])
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["door"] for row in rows} == {"onnx", "tensorflow"}
    assert all(set(row) == {"door", "operator", *RUNNERS} and "f32" in row["graph"] for row in rows)


def test_words_that_are_none_are_refused() -> None:
    for words, message in ((["--type", "f31"], "'f31' is no element type"), (["--operator", "Nope"], "'Nope'")):
        code, _, said = call(["stepwell", "ops", *words])
        assert code == 2 and message in said
