"""The WeightStore and its files: what is written is read, memory-mapped and by others too; damage is refused with the reason."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from xdsl.dialects.builtin import TensorType, f32, i8

from stepwell.dialects.graph import StepAttr, WeightAttr
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.weights import RandomWeightStore, WeightStore, open_weights
from stepwell.runtime import files
from stepwell.runtime.errors import ModelError, UsageError

ARRAYS: dict[str, Array] = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([1.5, -0.0], np.float16),
    "flags": np.array([True, False, True]),
    "scalar": np.array(7, np.int64),
    "none": np.zeros((0, 4), np.float32),
}


def test_files_round_trip_memory_mapped(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    WeightStore(ARRAYS).save(path)
    store = WeightStore.load(path)
    assert set(store) == set(ARRAYS) and len(store) == 5 and "half" in store
    for name, array in ARRAYS.items():
        read = store.array(name)
        assert (read.shape, read.dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(read, array)
        assert not read.flags.writeable
        assert read.size == 0 or not read.flags.owndata
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]


def test_files_are_those_of_the_safetensors_package(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    WeightStore(ARRAYS).save(ours)
    for name, array in load_file(ours).items():
        np.testing.assert_array_equal(array, ARRAYS[name])
    save_file(ARRAYS, theirs, metadata={"format": "np"})
    store = WeightStore.load(theirs)
    assert {name: store.array(name).tolist() for name in store} == {name: a.tolist() for name, a in ARRAYS.items()}


def test_bytes_do_not_depend_on_order_or_time(tmp_path: Path) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    WeightStore(ARRAYS).save(first)
    WeightStore(dict(reversed(ARRAYS.items()))).save(second)
    assert first.read_bytes() == second.read_bytes()


def file_of(header: Any, data: bytes = b"\0" * 24) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(**changes: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24], **changes}}


DAMAGED = [
    (b"", "cannot read the weights: cannot mmap an empty file"),
    (b"\1\2", "the header's length does not fit the file"),
    (b"\xff" * 16, "the header's length does not fit the file"),
    (file_of(b"{]"), "the header is no JSON text"),
    (file_of(b"[" * 5000), "the header is no JSON text"),
    (file_of([1]), "the header is no JSON object"),
    (file_of({"w": 3}), "array 'w': dtype, shape or data_offsets is missing or of the wrong kind"),
    (file_of(entry(data_offsets=[0])), "array 'w': dtype, shape or data_offsets is missing or of the wrong kind"),
    (file_of(entry(dtype="F8_E4M3")), "array 'w' has element type F8_E4M3"),
    (file_of(entry(shape=[-2, -3])), r"array 'w': shape \[-2, -3\] has an extent that is no size"),
    (file_of(entry(shape=["2", 3])), "has an extent that is no size"),
    (file_of(entry(data_offsets=[8, 32])), "bytes 8 to 32 of 24 do not hold shape .* the file is cut off or damaged"),
    (file_of(entry(data_offsets=[-24, 0])), "the file is cut off or damaged"),
    (file_of(entry(shape=[2**40, 2**40])), "the file is cut off or damaged"),
]


@pytest.mark.parametrize("data, message", DAMAGED)
def test_damaged_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message) as caught:
        WeightStore.load(path)
    assert caught.value.where == str(path) and caught.value.exit_code == 3


@given(st.binary(max_size=200), st.integers(0, 200))
def test_hostile_bytes_never_escape(tmp_path_factory: pytest.TempPathFactory, noise: bytes, position: int) -> None:
    path = tmp_path_factory.mktemp("noise") / "w.safetensors"
    good = bytearray(file_of(entry()))
    good[position : position + len(noise)] = noise
    path.write_bytes(good)
    try:
        for name in (store := WeightStore.load(path)):
            store.array(name).sum()
    except ModelError:
        pass


def test_a_failing_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        WeightStore(ARRAYS).save(tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_references_carry_type_and_hash() -> None:
    store = WeightStore()
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    ref = store.add("w", array.T)
    assert ref == WeightAttr("w", hashlib.sha256(array.T.tobytes()).hexdigest(), TensorType(f32, [3, 2]))
    np.testing.assert_array_equal(store.evaluate(ref), array.T)
    assert store.add("w", array.T) == ref
    with pytest.raises(ModelError, match="two different weights are called 'w'"):
        store.add("w", array.T + 1)
    with pytest.raises(ModelError, match="w2: arrays of complex64 have no element type"):
        store.add("w2", np.zeros(3, np.complex64))


def test_weights_of_another_model_are_refused() -> None:
    ref = WeightStore().add("w", np.ones((2, 3), np.float32))
    with pytest.raises(ModelError, match="no weight 'w' in the weight store\n  hint: it holds 1 weights: v"):
        WeightStore({"v": np.ones(1)}).evaluate(ref)
    with pytest.raises(
        ModelError, match=r"w: the weight is float32 of shape \[3\] .* the module expects tensor<2x3xf32>"
    ):
        WeightStore({"w": np.ones(3, np.float32)}).evaluate(ref)
    with pytest.raises(ModelError, match="sha256 .*\n  hint: these weights belong to another model"):
        WeightStore({"w": np.zeros((2, 3), np.float32)}).evaluate(ref)


def test_restriction_shares_arrays() -> None:
    store = WeightStore(ARRAYS)
    part = store.restricted_to(["half", "flags", "half"])
    assert list(part) == ["half", "flags"] and part.array("half") is store.array("half")


def test_random_weights_depend_on_seed_name_and_type_only() -> None:
    ref = WeightAttr("w", "0" * 64, TensorType(f32, [64, 32]))
    first = RandomWeightStore(3).evaluate(ref)
    np.testing.assert_array_equal(first, open_weights("random:3").evaluate(ref))
    assert not np.array_equal(first, RandomWeightStore(4).evaluate(ref))
    assert not np.array_equal(first, RandomWeightStore(3).evaluate(WeightAttr("v", "0" * 64, ref.type)))
    assert first.dtype == np.float32 and abs(first.std() - (2 / 32) ** 0.5) < 0.02
    np.testing.assert_array_equal(first.T, RandomWeightStore(3).evaluate(ref.then(StepAttr("transpose", [1, 0]))))
    integers = RandomWeightStore(3).evaluate(WeightAttr("i", "0" * 64, TensorType(i8, [100])))
    assert integers.dtype == np.int8 and set(integers.tolist()) == set(range(-3, 4))


def test_sources(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    WeightStore(ARRAYS).save(path)
    assert set(open_weights(path)) == set(open_weights(str(path))) == set(open_weights(ARRAYS)) == set(ARRAYS)
    store = WeightStore()
    assert open_weights(store) is store
    with pytest.raises(UsageError, match="seed 'x' is no number"):
        open_weights("random:x")
    with pytest.raises(UsageError, match="do not know how to read weights from 'w.npz'"):
        open_weights("w.npz")
    with pytest.raises(ModelError, match="cannot read the weights: .*No such file"):
        open_weights(tmp_path / "missing.safetensors")
