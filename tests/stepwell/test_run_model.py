"""`stepwell run` and `stepwell import` on models of every door: levels, expected outputs, classes, files of tensors, events."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import stepwell
from stepwell.cli.arrays import write_outputs
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.events import ImportEvents
from stepwell.testing.corpora import corpora, references
from stepwell.testing.run_line import call

DIGITS = Path(__file__).resolve().parents[2] / "examples/digits/digits.onnx"
MODELS = corpora() / "models"
SHAPE = ["--shape", "image:3x1x8x8"]
KINDS = {"network-input", "tensor", "initializer", "node", "search", "inputs", "layer", "outputs", "output"}
DOORS: dict[str, tuple[str, list[str]]] = {
    "mnist_cntk": ("mnist-8.onnx", []),
    "cifar10_quick_v1": ("cifar10_quick.prototxt", ["--weights", "cifar10_quick_iter_5000.caffemodel"]),
    "mnist_fc": ("frozen.pb", ["--outputs", "output"]),
    "half_plus_two": ("saved_model", []),
}


def succeeds(*words: object) -> str:
    code, out, said = call(["stepwell", *map(str, words)])
    assert code == 0, said
    return out


def fails(code: int, message: str, *words: object) -> None:
    got, _, said = call(["stepwell", *map(str, words)])
    assert got == code and message in said, (got, said)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array]:
    path = tmp_path_factory.mktemp("images") / "images.npy"
    array = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    np.save(path, array)
    return path, array


@pytest.fixture(scope="module")
def logits(images: tuple[Path, Array], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the network gives at the graph level."""
    path = tmp_path_factory.mktemp("logits") / "logits.npz"
    words = ["run", DIGITS, *SHAPE, "--level", "graph", "--input", f"image={images[0]}", "--output", path]
    assert "level graph, interpreted" in succeeds(*words)
    return path


@pytest.mark.parametrize("words", [["--level", "linalg"], ["--level", "tile"], ["--level", "kernel"], []])
def test_every_level_gives_what_the_graph_gives(words: list[str], images: tuple[Path, Array], logits: Path) -> None:
    where = ["--target", "cpu", *words]
    said = succeeds("run", DIGITS, *SHAPE, *where, "--input", f"image={images[0]}", "--expect", logits)
    assert "logits: agrees" in said or "bit for bit" in said


def test_what_is_not_expected_ends_with_1(images: tuple[Path, Array], logits: Path, tmp_path: Path) -> None:
    with np.load(logits) as held:
        changed = held["logits"].copy()
    changed[1, 2] += 0.5
    np.savez(tmp_path / "changed.npz", logits=changed)
    words = ["run", DIGITS, *SHAPE, "--level", "graph", "--input", f"image={images[0]}"]
    fails(1, "logits: DIFFERS, largest difference 0.5", *words, "--expect", tmp_path / "changed.npz")
    assert "agrees" in succeeds(*words, "--expect", tmp_path / "changed.npz", "--rtol", "1")
    fails(2, "there is no output 'other'", *words, "--expect", f"other={images[0]}")


def test_not_a_number_and_infinities_are_compared_in_place() -> None:
    from stepwell.api.compare import compare_outputs

    a = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    assert compare_outputs({"x": a}, {"x": a.astype(np.float64)}).agrees
    for place in range(4):
        changed = a.copy()
        changed[place] = 7
        assert not compare_outputs({"x": changed}, {"x": a}).agrees
        assert not compare_outputs({"x": a}, {"x": changed}).agrees


def test_classes_are_named(images: tuple[Path, Array], logits: Path, tmp_path: Path) -> None:
    names = ["zero", "one", "n01440764 two", "three", "four", "five", "six", "seven", "eight", "nine"]
    (tmp_path / "labels.txt").write_text("\n".join(names) + "\n\n")
    words = ["run", DIGITS, *SHAPE, "--level", "graph", "--input", f"image={images[0]}", "--labels"]
    said = succeeds(*words, tmp_path / "labels.txt", "--top", "2").splitlines()
    with np.load(logits) as held:
        best = np.argsort(-held["logits"], axis=1)[:, :2]
    shown = [line.split()[1] for line in said if line.startswith("  ")]
    assert shown == [names[place].split()[-1] for row in best for place in row]
    (tmp_path / "few.txt").write_text("a\nb\n")
    fails(2, "names 2 classes, no output has as many", *words, tmp_path / "few.txt")
    fails(2, "cannot read", *words, tmp_path / "absent.txt")


def test_tensors_from_protobufs_and_raw_bytes(images: tuple[Path, Array], logits: Path, tmp_path: Path) -> None:
    array = images[1]
    (tmp_path / "input_0.pb").write_bytes(numpy_helper.from_array(array, "image").SerializeToString())
    (tmp_path / "image.bin").write_bytes(array.tobytes())
    words = ["run", DIGITS, *SHAPE, "--level", "graph", "--expect", logits, "--input"]
    for given in ("input_0.pb", "image=input_0.pb", "image=image.bin"):
        name, sign, file = given.rpartition("=")
        assert "bit for bit the same" in succeeds(*words, f"{name}{sign}{tmp_path / file}")
    (tmp_path / "small.pb").write_bytes(numpy_helper.from_array(array[:2], "image").SerializeToString())
    (tmp_path / "small.bin").write_bytes(array.tobytes()[:-4])
    (tmp_path / "damaged.pb").write_bytes(b"\xff" * 30)
    fails(
        2,
        "couldn't read input tensor 'image': the file holds 128 elements, the network has 192",
        *words,
        tmp_path / "small.pb",
    )
    fails(2, "the file holds 191 elements, the network has 192", *words, f"image={tmp_path / 'small.bin'}")
    fails(2, "couldn't read input tensor", *words, tmp_path / "damaged.pb")
    fails(2, "raw bytes need the name of an input", *words, tmp_path / "image.bin")
    fails(2, "cannot read", *words, f"image={tmp_path / 'absent.bin'}")


def test_options_that_would_change_nothing_are_refused(digits_plan: Path) -> None:
    fails(2, "a plan is compiled already", "run", digits_plan, "--random", "0", "--weights", "random:0")
    fails(2, "the PTX interpreter runs plans", "run", DIGITS, "--random", "0", "--on", "ptx")
    fails(
        2,
        "--profile and --threads are for compiled",
        "run",
        DIGITS,
        *SHAPE,
        "--random",
        "0",
        "--level",
        "graph",
        "--profile",
    )
    fails(2, "needs a target", "run", DIGITS, *SHAPE, "--random", "0", "--level", "tile")
    fails(2, "0 classes cannot be shown", "run", DIGITS, "--random", "0", "--top", "0")
    fails(2, "nan is no tolerance", "run", DIGITS, "--random", "0", "--rtol", "nan")


@pytest.mark.skipif(not MODELS.is_dir(), reason="the corpora are not here: set STEPWELL_CORPORA")
@pytest.mark.parametrize("name", DOORS)
def test_models_of_every_door_run_and_print(name: str, tmp_path: Path) -> None:
    file, words = DOORS[name]
    inputs, outputs = references(MODELS / name)
    write_outputs(tmp_path / "in.npz", inputs)
    write_outputs(tmp_path / "out.npz", outputs)
    options = [str(MODELS / name / word) if word.endswith(".caffemodel") else word for word in words]
    options += [w for key, array in inputs.items() for w in ("--shape", f"{key}:{'x'.join(map(str, array.shape))}")]
    model = str(MODELS / name / file)
    run = ["run", model, *options, "--level", "graph", "--input", str(tmp_path / "in.npz")]
    said = succeeds(*run, "--expect", tmp_path / "out.npz")
    assert said.count("agrees") + said.count("bit for bit") == len(outputs)
    code, text, _ = call(["stepwell-opt", model, *options, "--to", "graph", "--print-debuginfo"])
    assert code == 0 and all(f'stepwell.name = "{key}"' in text for key in (*inputs, *outputs)) and "loc(" in text
    records = [json.loads(line) for line in succeeds("import", model, *options, "--json").splitlines()]
    signature = {r["name"]: r["kind"] for r in records if r["kind"].startswith("signature-")}
    assert signature == {**dict.fromkeys(inputs, "signature-input"), **dict.fromkeys(outputs, "signature-output")}
    assert {r["kind"] for r in records if not r["kind"].startswith("signature")} == KINDS
    assert all(r["where"] == (model if name != "half_plus_two" else r["where"]) for r in records if "where" in r)
    lines = succeeds("import", model, *options).splitlines()
    assert [r["text"] for r in records if "text" in r] == lines[: len(records) - len(signature) - 1]
    assert lines[-1].endswith(" ops")


def test_the_network_api_tells_the_same_nine_kinds() -> None:
    network = stepwell.Network("events")
    x = network.add_input("x", (1, 4))
    network.mark_output(network.add_fully_connected(x, 2, np.ones((2, 4), np.float32), name="fc"), "y")
    events = ImportEvents()
    stepwell.import_model(network, events=events)
    assert {record.kind for record in events.records} == KINDS
    assert (events.source, events.where) == ("network", "events")


def test_a_model_that_is_refused_tells_its_reasons_only(tmp_path: Path) -> None:
    node = helper.make_node("Strange", ["x"], ["y"], name="odd")
    info = helper.make_tensor_value_info
    graph = helper.make_graph([node], "g", [info("x", 1, [1])], [info("y", 1, [1])])
    onnx.save(helper.make_model(graph), tmp_path / "odd.onnx")
    code, out, said = call(["stepwell", "import", str(tmp_path / "odd.onnx")])
    assert code == 3 and out == "" and "odd" in said and "this operator is not supported" in said
