"""The WeightStore and its files: what is written is read, memory-mapped and by others too; damage is refused with the reason."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
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
from stepwell.dialects.weights import RandomWeightStore, WeightStore, open_weights
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


def two(first: list[int], second: list[int], shape: int = 3) -> bytes:
    """A file of two arrays with these offsets."""
    entries = {
        name: {"dtype": "F32", "shape": [shape], "data_offsets": at} for name, at in (("a", first), ("b", second))
    }
    return file_of(entries)


W = json.dumps(entry()["w"]).encode()
DAMAGED = [
    (b"", "header too small"),
    (b"\1\2", "header too small"),
    (b"\xff" * 16, "header too large"),
    (file_of(entry())[:20], "not a safetensors file, or a damaged one"),
    (file_of(b"{]"), "invalid JSON in header"),
    (file_of(b"[" * 5000), "invalid JSON in header"),
    (file_of([1]), "invalid JSON in header"),
    (file_of({"w": 3}), "invalid type: integer `3`"),
    (file_of(entry(data_offsets=[0])), "invalid length 1"),
    (
        file_of(entry(dtype="F8_E4M3", shape=[24])),
        "array 'w' has element type F8_E4M3\n  hint: convert it; known are F64",
    ),
    (file_of(entry(dtype="BF16", shape=[12])), "array 'w' has element type BF16"),
    (file_of(entry(dtype="F33")), "invalid JSON in header: unknown variant `F33`"),
    (file_of(entry(dtype="BOOL", shape=[24]), b"\0" * 23 + b"\2"), "array 'w': a bool is neither 0 nor 1"),
    (file_of(entry(shape=[-2, -3])), "invalid value: integer `-2`"),
    (file_of(entry(shape=["2", 3])), "invalid type: string"),
    (file_of(entry(data_offsets=[8, 32])), "invalid offset for tensor `w`"),
    (file_of(entry(data_offsets=[-24, 0])), "invalid value: integer `-24`"),
    (file_of(entry(shape=[2**40, 2**40])), "overflow"),
    (file_of(entry(shape=[2, 4])), "not a safetensors file, or a damaged one"),
    (file_of(entry(), b"\0" * 16), "incomplete metadata, file not fully covered"),
    (file_of(entry(), b"\0" * 32), "incomplete metadata, file not fully covered"),
    (two([0, 12], [4, 16]), "invalid offset for tensor"),
    (two([0, 24], [0, 24], 6), "invalid offset for tensor"),
    (two([0, 12], [16, 28]), "invalid offset for tensor"),
    (file_of(b'{"w":' + W + b',"w":' + W + b"}"), "array 'w' is there twice"),
    (file_of(b'{"w":' + W + b',"w":' + W.replace(b"[2, 3]", b"[6]") + b"}"), "array 'w' is there twice"),
]


@pytest.mark.parametrize("data, message", DAMAGED)
def test_damaged_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message) as caught:
        WeightStore.load(path)
    assert caught.value.where == str(path) and caught.value.exit_code == 3


def test_arrays_are_where_the_header_says(tmp_path: Path) -> None:
    """Whatever the order of the names, with empty arrays between them, and where the data is not aligned."""
    path, data = tmp_path / "w.safetensors", np.arange(24, dtype=np.uint8).tobytes()
    header: dict[str, Any] = {
        "z": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "none": {"dtype": "F32", "shape": [0, 2], "data_offsets": [3, 3]},
        "a": {"dtype": "I16", "shape": [2, 2], "data_offsets": [11, 19]},
        "m": {"dtype": "F64", "shape": [], "data_offsets": [3, 11]},
        "b": {"dtype": "I8", "shape": [5], "data_offsets": [19, 24]},
        "__metadata__": {"z": "1"},
    }
    for lead in (b"", b" ", b"   "):
        path.write_bytes(file_of(lead + json.dumps(header).encode(), data))
        store = WeightStore.load(path)
        theirs = load_file(path)
        assert set(store) == {"z", "none", "a", "m", "b"} == set(theirs)
        for name in store:
            begin, end = header[name]["data_offsets"]
            assert store.array(name).tobytes() == data[begin:end] == theirs[name].tobytes()
            assert (store.array(name).shape, store.array(name).dtype) == (theirs[name].shape, theirs[name].dtype)


def test_foreign_byte_order_and_strides_are_written_right(tmp_path: Path) -> None:
    path, values = tmp_path / "w.safetensors", np.arange(12, dtype=np.float32).reshape(3, 4)
    foreign = {
        "big": values.astype(">f4"),
        "turned": values.T,
        "every": values[::2, ::-1],
        "big.turned": values.astype(">f4").T,
        "scalar": np.array(7, ">i8"),
        "wide": np.broadcast_to(np.float16(2), (3, 4)),
    }
    WeightStore(foreign).save(path)
    for read in (WeightStore.load(path)._arrays, load_file(path)):
        for name, array in foreign.items():
            np.testing.assert_array_equal(read[name], array)
            assert read[name].dtype == array.dtype.newbyteorder("<") and read[name].shape == array.shape
    with pytest.raises(ModelError, match="c: arrays of complex128 cannot be stored"):
        WeightStore({"c": np.zeros(2, complex)}).save(path)


def test_a_folder_is_no_file_of_weights(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").mkdir()
    with pytest.raises(ModelError, match="cannot read the weights: it is a folder"):
        WeightStore.load(tmp_path / "w.safetensors")


def test_reading_copies_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    WeightStore({"w": np.zeros(4 << 20, np.float32)}).save(path)
    tracemalloc.start()
    array = WeightStore.load(path).array("w")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert array.size == 4 << 20 and peak < 1 << 20


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
    with pytest.raises(UsageError, match="disk full"):
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


def test_weights_by_content_are_told_apart_by_type_and_shape() -> None:
    store = WeightStore()
    arrays = [np.zeros(1, np.float32), np.zeros(1, np.int32), np.zeros((1, 1), np.float32), np.zeros(1, np.float32)]
    references = [store.add_by_content("number", array) for array in arrays]
    assert references[0] == references[3] and len({reference.source.data for reference in references}) == 3
    for reference, array in zip(references, arrays, strict=True):
        made = store.evaluate(reference)
        assert (made.dtype, made.shape) == (array.dtype, array.shape)
