"""Files that are damaged or meant to harm: one ModelError with all reasons, in bounded time and memory."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from stepwell.frontends.caffe import import_caffe, read_caffemodel
from stepwell.frontends.caffe.converters import LAYERS
from stepwell.frontends.caffe.schema import messages
from stepwell.runtime.errors import ModelError, StepwellError
from stepwell.testing.caffe_files import caffemodel

INPUT = 'input: "x" input_shape { dim: 1 dim: 2 dim: 6 dim: 6 }\n'


def _layer(type: str, parameters: str = "", bottoms: str = 'bottom: "x"') -> str:
    return f'layer {{ name: "n" type: "{type}" {bottoms} top: "y" {parameters} }}\n'


def _shaped(*shape: int) -> str:
    return f'input: "x" input_shape {{ {" ".join(f"dim: {extent}" for extent in shape)} }}\n'


CASES = [
    # cycles, names
    (INPUT + 'layer { name: "a" type: "ReLU" bottom: "b" top: "a" } layer { name: "b" type: "ReLU" bottom: "a" top: "b" }', "bottom 'b' is made by no earlier layer"),
    (INPUT + INPUT.replace("2", "3"), "the file has no layers"),
    (INPUT + INPUT.replace("2", "3") + _layer("ReLU"), "two inputs are called 'x'"),
    (INPUT + 'layer { type: "ReLU" bottom: "y" }', "bottom 'y' is made by no earlier layer"),
    (INPUT + 'layer { bottom: "x" top: "y" }', "the layer has no type"),
    (INPUT + _layer("InnerProduct", "inner_product_param { num_output: 3 }") + _layer("InnerProduct", "inner_product_param { num_output: 4 }"), "another layer is called 'n' too"),
    # ranks and counts
    (_shaped(4) + _layer("Convolution", "convolution_param { num_output: 1 kernel_size: 1 }"), r"bottom 'x' has shape \[4\]: 3 dims are needed"),
    (_shaped() + _layer("Pooling"), "input 'x' has no shape"),
    (_shaped(*[1] * 40) + _layer("Pooling", "pooling_param { kernel_size: 1 }"), "pools take two spatial dims"),
    (INPUT + _layer("Eltwise"), "it has 1 bottoms, 2 or more are needed"),
    (INPUT + _layer("PriorBox", "", ""), "it has 0 bottoms, 1 or 2 are needed"),
    (INPUT + _layer("Concat", "concat_param { axis: 4 }"), r"axis 4 is outside \[-4, 4\)"),
    # extents
    (_shaped(1, -3, 6, 6) + _layer("ReLU"), "extents are 0 to 2147483647"),
    (_shaped(1, 3, 1 << 40, 6) + _layer("ReLU"), "extents are 0 to 2147483647"),
    (_shaped(*[1 << 30] * 4) + _layer("ReLU"), "at most 1099511627776 elements together"),
    (_shaped(0, 3, 6, 6) + _layer("Slice", "slice_param { axis: 4 }"), "axis 4 is outside"),
    (INPUT + _layer("Tile", "tile_param { axis: 0 tiles: 2147483647 }") + 'layer { name: "m" type: "Tile" bottom: "y" top: "z" tile_param { tiles: 2147483647 } }', "at most 1099511627776 elements together"),
    (INPUT + _layer("Reshape", "reshape_param { shape { dim: -9 dim: -8 } }"), r"shape \[-9, -8\] is no shape"),
    (INPUT + _layer("Reshape", "reshape_param { shape { dim: 9223372036854775807 dim: -1 } }"), "cannot be reshaped"),
    (INPUT + _layer("Convolution", "convolution_param { num_output: 4294967295 kernel_size: 4294967295 pad: 4294967295 }"), "at most 1048576"),
    (INPUT + _layer("Pooling", "pooling_param { kernel_size: 3 pad: 4294967295 }"), "at most 1048576"),
    (INPUT + _layer("Im2col", "convolution_param { kernel_size: 1048576 pad: 1048576 }"), "is too large"),
    (_shaped(1, 1, 60000, 60000) + _layer("PriorBox", "prior_box_param { min_size: 1 img_size: 300 }"), "cells have 7200000000 boxes"),
    (INPUT + _layer("PriorBox", "prior_box_param { min_size: nan img_size: 300 }"), "must be positive"),
    (INPUT + _layer("SPP", "spp_param { pyramid_height: 4294967295 }"), "pyramid_height is 4294967295"),
    # syntax
    ("layer {" * 65 + "}" * 65, "nested more than 64 levels deep"),
    ('layer { name: "' + "x" * 100000, "not a Caffe network"),
    ("layer { name: 'n' type: 'ReLU' top: 5 }", "not a Caffe network"),
    ('layers { layer { type: "padding" } } layers { layer { name: "q" type: "nonsense" } } layers { layer { name: "r" type: "other" } }', "3 reasons"),
    ('layers { name: "a" type: NONE } layers { name: "b" type: NONE }', "2 reasons"),
    ("\x00" * 1000, "not a Caffe network: line 1: "),
    ("layer { }\n" * 9 + "layer { nothing: \x0b }", "not a Caffe network: line 10: "),
    ("layer { }\n" * 9 + "layer { what { is } }", "not a Caffe network: line 10: "),
    ("layer {\n nothing { deeper: {\n below: } } }", "not a Caffe network: line 3: "),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), CASES, ids=range(len(CASES)))
def test_damaged_definitions(text: str, message: str) -> None:
    begun = time.process_time()
    with pytest.raises(ModelError, match=message) as caught:
        import_caffe(text.encode())
    assert caught.value.exit_code == 3 and time.process_time() - begun < 2


@pytest.mark.parametrize("type", sorted(LAYERS))
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0), (1, 1), (1, 1, 1), (1, 1, 1, 1), (0, 3, 4, 0)])
def test_layers_of_any_shape_without_parameters(type: str, shape: tuple[int, ...]) -> None:
    """Every layer on every number of bottoms that it may have, scalars and no elements among them: imported, or refused with a reason."""
    least, most = LAYERS[type].bottoms
    for count in {least, least + 1, min(most, 4)}:
        inputs = "".join(
            f'layer {{ name: "i{i}" type: "Parameter" top: "x{i}" parameter_param {{ shape {{ {" ".join(f"dim: {extent}" for extent in shape)} }} }} }}'
            for i in range(count)
        )
        bottoms = "".join(f' bottom: "x{i}"' for i in range(count))
        try:
            import_caffe((inputs + _layer(type, "", bottoms)).encode())[0].verify()
        except ModelError as error:
            assert error.reasons or "no output" in str(error)


def _blob(shape: list[int], **fields: object) -> bytes:
    network = messages()["NetParameter"]()
    for name in ("a", "b"):
        blob = network.layer.add(name=name).blobs.add(**fields)
        blob.shape.dim.extend(shape)
    data: bytes = network.SerializeToString()
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_blob([1 << 40, 1 << 40], data=[b"\0\0\0\0"]), "layer 'b': a blob of shape .* holds 1 numbers"),
        (_blob([-1, -4], data=[b"\0" * 16]), r"layer 'b': a blob of shape \[-1, -4\] holds 4 numbers"),
        (_blob([1], data=[b"\0\0\0"]), "layer 'b': a blob holds 3 bytes, which is no whole number of elements"),
        (_blob([1], raw_data=b"\0\0\0\0", raw_data_type=9), "layer 'b': a blob holds raw data of type 9"),
        (_blob([1] * 40, data=[b"\0\0\0\0"]), "layer 'b': a blob has 40 dims"),
        (_blob([1], double_data=[np.float64(1e300).tobytes()]), "layer 'b': a blob holds a double that is too large"),
        (b"", "it holds no layers"),
        (b"\xff" * 100, "at byte 0 of 100 it is damaged"),
        (b"\x0b" * 5000, "at byte 0 of 5000 it is damaged"),
    ],
)
def test_damaged_weights(tmp_path: Path, data: bytes, message: str) -> None:
    """Reasons of all layers are told together."""
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=message) as caught:
        read_caffemodel(path)
    assert caught.value.exit_code == 3


def test_weights_that_are_cut_off_anywhere(tmp_path: Path) -> None:
    text = INPUT + _layer("InnerProduct", "inner_product_param { num_output: 3 }")
    data = caffemodel({"n": [np.ones((3, 72), np.float32), np.ones(3, np.float32)]})
    path = tmp_path / "net.caffemodel"
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        with pytest.raises(StepwellError) as caught:
            import_caffe(text.encode(), caffemodel=path)
        assert caught.value.exit_code == 3


def test_numbers_that_are_not_packed(tmp_path: Path) -> None:
    """A writer may store a repeated field one element after the other."""
    plain = messages()["UnpackedBlobProto"](data=[1.5, -2.0])
    network = messages()["NetParameter"]()
    blob = network.layer.add(name="n").blobs.add()
    blob.MergeFromString(plain.SerializeToString())
    blob.shape.dim.append(2)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(network.SerializeToString())
    np.testing.assert_array_equal(read_caffemodel(path)["n"][0], np.asarray([1.5, -2.0], np.float32))
