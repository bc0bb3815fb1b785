"""Whatever is in a file, a command says what is wrong with it: no fault of ours, no signal, no traceback, no run without end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import onnx
import pytest
from tests.hostile.conftest import Corpus

from stepwell.passes.levels import LEVELS
from stepwell.testing.hostile import containers, data, model, text
from stepwell.testing.hostile.children import Children
from stepwell.testing.hostile.judge import Tally
from stepwell.testing.hostile.seeds import PROTOTXT

Make = Callable[[Corpus, Random, Path], list[list[str]]]
"""Writes a changed file into a folder and gives the commands to run on it."""


def of_text(corpus: Corpus, random: Random, folder: Path) -> list[list[str]]:
    """A module of any level, read, verified, printed and lowered by a level."""
    source = random.choice(corpus.ladder)
    target, level = source.stem.rsplit("_", 1)
    path = folder / "net.mlir"
    path.write_text(text.mutated_text(source.read_text(), random), errors="surrogatepass")
    words = ["stepwell-opt", str(path), "-o", "/dev/null"]
    if level == "llvm":
        return [[*words, "-t", "stepwell-asm" if target == "cpu" else "stepwell-ptx"]]
    return [[*words, "--to", LEVELS[LEVELS.index(level) + 1]]]


def of_model(corpus: Corpus, random: Random, folder: Path) -> list[list[str]]:
    """An ONNX file whose bytes or whose fields are changed."""
    path = folder / "net.onnx"
    if random.random() < 0.4:
        path.write_bytes(data.mutated_bytes(corpus.model.read_bytes(), random))
    else:
        path.write_bytes(model.mutated_model(onnx.load(corpus.model), random).SerializeToString())
    return [["stepwell", "compile", str(path), "--target", random.choice(("cpu", "cpu", "sm_90a"))]]


def of_prototxt(corpus: Corpus, random: Random, folder: Path) -> list[list[str]]:
    """A Caffe network, whose text has the same kinds of tokens."""
    path = folder / "net.prototxt"
    if random.random() < 0.7:
        path.write_text(text.mutated_text(PROTOTXT, random), errors="surrogatepass")
    else:
        path.write_bytes(data.mutated_bytes(PROTOTXT.encode(), random))
    return [["stepwell", "compile", str(path), "--weights", "random:0", "--target", "cpu"]]


def of_plan_bytes(corpus: Corpus, random: Random, folder: Path) -> list[list[str]]:
    """A plan whose bytes are changed: its checksums tell, so it may even be run."""
    path = folder / "net.plan"
    path.write_bytes(data.mutated_bytes(corpus.plan.read_bytes(), random))
    return [["stepwell", "run", str(path), "--random", "1"], ["stepwell", "inspect", str(path)]]


def of_plan_fields(corpus: Corpus, random: Random, folder: Path) -> list[list[str]]:
    """A plan with right checksums over what is wrong. It is a program: it is looked at and not run."""
    path = folder / "net.plan"
    containers.mutated_plan(corpus.plan, path, random)
    looks = [[], ["--remarks"], ["--json"], ["--ir"]]
    return [
        ["stepwell", "inspect", str(path), *random.choice(looks)],
        ["stepwell-opt", str(path), "-o", "/dev/null"],
        ["stepwell", "compile", str(path), "-o", str(folder / "again.plan")],
    ][: random.randint(1, 3)]


def of_arrays(corpus: Corpus, random: Random, folder: Path) -> list[list[str]]:
    """Arrays for a run."""
    path = folder / random.choice(("in.npz", "in.npy"))
    archive = random.random() < 0.7
    made = containers.mutated_npz(corpus.inputs, random) if archive else None
    path.write_bytes(made or containers.mutated_npy(next(iter(corpus.inputs.values())), random))
    named = random.choice(("", f"{next(iter(corpus.inputs))}="))
    return [["stepwell", "run", str(corpus.plan), "--target", "cpu", "--threads", "1", "--input", f"{named}{path}"]]


def of_weights(corpus: Corpus, random: Random, folder: Path) -> list[list[str]]:
    """Weights of a module."""
    path = folder / "net.safetensors"
    source = corpus.weights.read_bytes()
    fields = random.random() < 0.6
    path.write_bytes(containers.mutated_safetensors(source, random) if fields else data.mutated_bytes(source, random))
    output = ["--target", "cpu", "-o", str(folder / "net.plan")]
    return [["stepwell", "compile", str(corpus.module), "--weights", str(path), *output]]


KINDS: list[tuple[Make, int]] = [
    (of_text, 24),
    (of_model, 12),
    (of_prototxt, 5),
    (of_plan_bytes, 8),
    (of_plan_fields, 6),
    (of_arrays, 16),
    (of_weights, 8),
]


def net(make: Make, corpus: Corpus, seeds: range, children: Children, folder: Path) -> None:
    tally = Tally()
    for seed in seeds:
        place = folder / str(seed)
        place.mkdir()
        for words in make(corpus, Random(f"{make.__name__} {seed}"), place):
            tally.add(f"{seed}: {' '.join(words)}", children.run(words, place))
    print(tally)
    assert not tally.faults, str(tally)
    refused = sum(count for code, count in tally.codes.items() if code)
    assert refused > sum(tally.codes.values()) // 5, "the changes are too timid"


@pytest.mark.parametrize(("make", "count"), KINDS, ids=[make.__name__ for make, _ in KINDS])
def test_changed_files(make: Make, count: int, small: Corpus, children: Children, tmp_path: Path) -> None:
    net(make, small, range(count), children, tmp_path)


PART = 50
"""Files of one test, so that many tests run side by side."""


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 1100, PART))
@pytest.mark.parametrize("make", [make for make, _ in KINDS], ids=[make.__name__ for make, _ in KINDS])
def test_many_changed_files(
    make: Make, start: int, small: Corpus, digits: Corpus, children: Children, tmp_path: Path
) -> None:
    net(make, small if start < 800 else digits, range(start, start + PART), children, tmp_path)
