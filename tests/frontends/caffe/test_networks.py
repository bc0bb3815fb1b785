"""Whole prototxt files: syntaxes, phases, inputs, outputs, weights, and what is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from stepwell.dialects.graph.interpreter import argument_names, interpret, main_function, result_names
from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import RandomWeightStore
from stepwell.frontends.caffe import import_caffe, read_caffemodel
from stepwell.frontends.caffe.schema import messages
from stepwell.passes import names_of
from stepwell.runtime.errors import ModelError, UsageError

INPUT = 'input: "data" input_dim: 1 input_dim: 2 input_dim: 6 input_dim: 6\n'
V2 = (
    INPUT
    + """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 3 kernel_size: 3 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 4 } }
"""
)
V1 = (
    INPUT
    + """
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" convolution_param { num_output: 3 kernel_size: 3 pad: 1 } blobs_lr: 1 }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "drop" type: DROPOUT bottom: "conv" top: "conv" }
layers { name: "fc" type: INNER_PRODUCT bottom: "conv" top: "fc" inner_product_param { num_output: 4 } }
"""
)
V0 = (
    INPUT
    + """
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "padded" }
layers { layer { name: "conv" type: "conv" num_output: 3 kernelsize: 3 } bottom: "padded" top: "conv" }
layers { layer { name: "relu" type: "relu" } bottom: "conv" top: "conv" }
layers { layer { name: "drop" type: "dropout" } bottom: "conv" top: "conv" }
layers { layer { name: "fc" type: "innerproduct" num_output: 4 } bottom: "conv" top: "fc" }
"""
)


def _f32(values: Any) -> Array:
    return np.asarray(values, np.float32)


BLOBS = {
    "conv": [np.arange(54, dtype=np.float32).reshape(3, 2, 3, 3) / 50 - 0.5, _f32([1, -1, 0])],
    "fc": [np.arange(432, dtype=np.float32).reshape(4, 108) / 400 - 0.5, _f32([0, 1, 2, 3])],
}
X = np.linspace(-1, 1, 72, dtype=np.float32).reshape(1, 2, 6, 6)


def test_the_three_syntaxes_are_one_network() -> None:
    results = []
    for text in (V2, V1, V0):
        module, weights = import_caffe(text.encode(), blobs=BLOBS)
        assert [names_of(op)[0] for op in module.walk() if op.name == "graph.conv"] == ["conv"]
        results.append(interpret(module, {"data": X}, weights)["fc"])
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def _caffemodel(old: bool, double: bool) -> bytes:
    """A file as Caffe writes it: packed numbers, legacy extents in the old syntax."""
    network = messages()["NetParameter"](name="n")
    for name, arrays in BLOBS.items():
        layer = (network.layers if old else network.layer).add(name=name)
        for array in arrays:
            blob = layer.blobs.add()
            if double:
                blob.double_data.append(array.astype("<f8").tobytes())
            else:
                blob.data.append(array.astype("<f4").tobytes())
            if old:
                blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
            else:
                blob.shape.dim.extend(array.shape)
    data: bytes = network.SerializeToString()
    return data


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_weights_are_matched_by_layer_name(tmp_path: Path, old: bool, double: bool) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(_caffemodel(old, double))
    module, weights = import_caffe(V2.encode(), caffemodel=path)
    wanted, held = import_caffe(V2.encode(), blobs=BLOBS)
    assert np.array_equal(interpret(module, {"data": X}, weights)["fc"], interpret(wanted, {"data": X}, held)["fc"])


@pytest.mark.parametrize(("number", "kind"), [(0, "<f8"), (1, "<f4"), (2, "<f2")])
def test_arrays_with_a_type(tmp_path: Path, number: int, kind: str) -> None:
    """NVIDIA's branch stores the bytes of an array and the number of their type."""
    network = messages()["NetParameter"]()
    array = np.asarray([[1.5, -2], [0.25, 3]], kind)
    blob = network.layer.add(name="n").blobs.add(raw_data=array.tobytes(), raw_data_type=number)
    blob.shape.dim.extend(array.shape)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(network.SerializeToString())
    (found,) = read_caffemodel(path)["n"]
    assert found.dtype == np.float32 and np.array_equal(found, array.astype(np.float32))


def test_the_arrays_of_a_large_file_are_not_copied_in_python(tmp_path: Path) -> None:
    """Reading takes at most 2.2 times the file, in Python's own count."""
    network = messages()["NetParameter"]()
    for index in range(8):
        blob = network.layer.add(name=f"l{index}").blobs.add(data=[np.zeros(1 << 20, "<f4").tobytes()])
        blob.shape.dim.append(1 << 20)
    path = tmp_path / "large.caffemodel"
    path.write_bytes(network.SerializeToString())
    del network, blob
    tracemalloc.start()
    blobs = read_caffemodel(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(blobs) == 8 and peak < 1.2 * path.stat().st_size


def test_without_weights_the_module_names_them() -> None:
    module, _ = import_caffe(V2.encode())
    names = [op.ref.source.data for op in module.walk() if op.name == "graph.weight"]  # type: ignore[attr-defined]
    assert names == ["conv.0", "conv.1", "fc.0", "fc.1"]
    assert interpret(module, {"data": X}, RandomWeightStore(1))["fc"].shape == (1, 4)


TRAIN = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN } data_param { batch_size: 64 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST } data_param { batch_size: 10 source: "x" } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" } inner_product_param { num_output: 4 bias_term: false } }
layer { name: "b" type: "InnerProduct" bottom: "data" top: "b" param { name: "w" } inner_product_param { num_output: 4 bias_term: false } }
layer { name: "only_train" type: "Nonsense" bottom: "a" top: "z" include { phase: TRAIN } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
layer { name: "accuracy" type: "Accuracy" bottom: "sum" bottom: "label" top: "accuracy" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" }
"""


def test_a_training_network_is_pruned() -> None:
    module, weights = import_caffe(TRAIN.encode(), shapes={"data": "2x3"}, blobs={"a": [np.ones((4, 3), np.float32)]})
    main = main_function(module)
    assert (argument_names(main), result_names(main)) == (["data"], ["loss"])
    assert len([op for op in module.walk() if op.name == "graph.weight"]) == 1, "shared parameters are one weight"
    result = interpret(module, {"data": np.ones((2, 3), np.float32)}, weights)["loss"]
    np.testing.assert_allclose(result, np.full((2, 4), 0.25))


def test_outputs_by_name() -> None:
    module, _ = import_caffe(V2.encode(), outputs=["conv"])
    assert result_names(main_function(module)) == ["conv"]
    assert not [op for op in module.walk() if op.name == "graph.matmul"]
    with pytest.raises(UsageError, match="'prob' is no top of the network"):
        import_caffe(V2.encode(), outputs=["prob"])


def test_only_what_the_outputs_hang_on_is_converted() -> None:
    """Layers behind them may be unknown, inputs of those without a shape; a top that is overwritten in place has its last value."""
    text = (
        V2
        + """
    input: "info"
    layer { name: "cluster" type: "Python" bottom: "fc" bottom: "info" top: "boxes" python_param { module: "m" layer: "L" } }
    """
    )
    with pytest.raises(ModelError, match="2 reasons"):
        import_caffe(text.encode())
    module, weights = import_caffe(text.encode(), outputs=["conv"], blobs=BLOBS)
    assert argument_names(main_function(module)) == ["data"]
    assert interpret(module, {"data": X}, weights)["conv"].min() == 0
    with pytest.raises(ModelError, match=r"Python code, m.L, which the file does not hold: .* --outputs fc,info"):
        import_caffe(text.encode(), shapes={"info": "1x3"})


def test_fields_that_no_definition_has() -> None:
    """Of layers that are run they are told, but for what only training reads; of others they do not matter."""
    relu = 'layer { name: "relu" type: "ReLU" %s bottom: "fc" top: "relu" %s }'
    for field in ("prelu_relu_param { a: 1 }", "relu_param { scale: 2 }"):
        with pytest.raises(ModelError, match=r"line 7: \w+ has no field"):
            import_caffe((V2 + relu % ("", field)).encode())
        import_caffe((V2 + relu % ("phase: TRAIN", field)).encode())
        import_caffe((V2 + relu % ("", field)).encode(), outputs=["fc"])
    import_caffe((V2 + relu % ("", "forward_type: FLOAT16 quantised: { a: 1 }")).encode())


def test_a_loss_in_python_is_left_out() -> None:
    loss = 'layer { name: "loss" type: "Python" bottom: "fc" bottom: "data" top: "loss" loss_weight: 1 python_param { module: "m" layer: "L" } }'
    module, _ = import_caffe((V2 + loss).encode())
    assert result_names(main_function(module)) == ["fc"]


def test_stages_and_levels() -> None:
    text = (
        INPUT
        + """
    layer { name: "a" type: "ReLU" bottom: "data" top: "y" include { stage: "deploy" } }
    layer { name: "b" type: "TanH" bottom: "data" top: "y" include { stage: "val" } }
    layer { name: "c" type: "AbsVal" bottom: "y" top: "y" exclude { min_level: 0 } }
    """
    )
    module, _ = import_caffe(text.encode())
    assert [op.kind for op in module.walk() if op.name == "graph.unary"] == ["relu"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("state", "rule", "taken"),
    [
        ("", "include { phase: TEST }", True),
        ("", "include { phase: TRAIN }", False),
        ("", "exclude { phase: TEST }", False),
        ("", "phase: TRAIN", False),
        ("", 'include { not_stage: "x" }', True),
        ('state { stage: "x" }', 'include { not_stage: "x" }', False),
        ('state { stage: "x" stage: "y" }', 'include { stage: "x" stage: "y" }', True),
        ('state { stage: "x" }', 'include { stage: "x" stage: "y" }', False),
        ('state { stage: "x" }', 'include { stage: "z" } include { stage: "x" }', True),
        ('state { stage: "x" }', 'exclude { stage: "z" } exclude { stage: "x" }', False),
        ("state { level: 2 }", "include { min_level: 1 max_level: 2 }", True),
        ("state { level: 3 }", "include { min_level: 1 max_level: 2 }", False),
        ("", "include { min_level: 1 }", False),
        ("state { level: -1 }", "exclude { max_level: -1 }", False),
    ],
)
def test_rules(state: str, rule: str, taken: bool) -> None:
    """Caffe's NetState meets a layer when it meets one of its include rules, or has none and meets no exclude rule."""
    text = f'{INPUT} {state} layer {{ name: "a" type: "ReLU" bottom: "data" top: "y" {rule} }} layer {{ name: "b" type: "AbsVal" bottom: "data" top: "z" }}'
    module, _ = import_caffe(text.encode())
    assert result_names(main_function(module)) == (["y", "z"] if taken else ["z"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base_lr: 0.1 net: "x.prototxt"', "this is a solver, not a network; its network is 'x.prototxt'"),
        ('item { name: "dog" label: 1 }', "this is a label map"),
        ("name: 'x'", "the file has no layers"),
        (V2 + "}", "line 7: '}' closes nothing"),
        (V2 + "layer {", "not a Caffe network"),
        ("layer { " * 100 + "}" * 100, "nested more than 64 levels deep"),
        (V2.replace("pad: 1", "pad: 1 pad: 1 pad: 1"), "pad has 3 values, there are 2 spatial dims"),
        (V2.replace("pad: 1", "offset: 1"), "ConvolutionParameter has no field 'offset'"),
        (V2.replace('"ReLU"', '"RELU"'), r"layer 'relu' \(RELU\): this layer is not supported"),
        (V2.replace('bottom: "conv"', 'bottom: "cnv"', 1), "bottom 'cnv' is made by no earlier layer"),
        (V2.replace("input_dim: 2", "input_dim: -2"), "extents are 0 to"),
        (V2.replace("num_output: 3", "num_output: 0"), "num_output and group must be positive"),
        (TRAIN, "input 'data' has no shape: give it one, --shape data:1x3x224x224"),
        (V1.replace("RELU", "NONE"), "the layer has no type"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        import_caffe(text.encode())


def test_all_reasons_are_told_at_once() -> None:
    text = V2.replace('"ReLU"', '"Foo"').replace('"InnerProduct"', '"Bar"')
    with pytest.raises(ModelError) as caught:
        import_caffe(text.encode())
    assert len(caught.value.reasons) == 2


@pytest.mark.parametrize("cut", [0, 1, 7, 40, 100])
def test_damaged_weights(tmp_path: Path, cut: int) -> None:
    data = _caffemodel(False, False)
    path = tmp_path / "cut.caffemodel"
    path.write_bytes(data[:-cut] if cut else b"\xff" + data)
    with pytest.raises(ModelError):
        import_caffe(V2.encode(), caffemodel=path)


def test_weights_of_another_network() -> None:
    with pytest.raises(ModelError, match=r"blob 0 has shape \[3, 5\], the layer needs \[3, 2, 3, 3\]"):
        import_caffe(V2.encode(), blobs={**BLOBS, "conv": [np.zeros((3, 5), np.float32)]})
    with pytest.raises(ModelError, match="the weights hold 0 blobs for layer 'fc'"):
        import_caffe(V2.encode(), blobs={"conv": BLOBS["conv"]})


def test_the_text_of_a_message_is_read_back() -> None:
    network = text_format.Parse(V2, messages()["NetParameter"]())
    module, weights = import_caffe(text_format.MessageToString(network).encode(), blobs=BLOBS)
    assert interpret(module, {"data": X}, weights)["fc"].shape == (1, 4)
