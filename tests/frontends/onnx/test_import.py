"""What an imported module looks like: names, weights, constants, shapes, functions, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import argument_names, interpret, main_function, result_names
from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.onnx import import_onnx
from stepwell.ir.printing import module_text
from stepwell.passes import names_of
from stepwell.runtime.errors import ModelError, UsageError

MakeModel = Callable[..., onnx.ModelProto]
DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits" / "digits.onnx"
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def run_reference(model: onnx.ModelProto | str, feeds: dict[str, Array]) -> Array:
    """The first output by ONNX's reference evaluator."""
    results = ReferenceEvaluator(model).run(None, feeds)
    assert isinstance(results, list)
    return np.asarray(results[0])


def ops(module: ModuleOp) -> list[str]:
    return [op.name.removeprefix("graph.") for op in main_function(module).body.block.ops]


def test_names_become_locations_hints_and_attributes(make_model: MakeModel) -> None:
    nodes = [helper.make_node("Add", ["x:0", "b"], ["1"], name="scope/add"), helper.make_node("Relu", ["1"], ["y/out"])]
    module, store = import_onnx(make_model(nodes, {"x:0": X}, ["y/out"], {"b": X[0]}))
    main = main_function(module)
    assert argument_names(main) == ["x:0"] and result_names(main) == ["y/out"]
    assert [names_of(op) for op in main.body.block.ops] == [
        ("b",),
        ("scope/add",),
        ("scope/add",),
        ("y/out",),
        ("y/out",),
    ]
    text = module_text(module)
    assert 'func.func @main(%x: tensor<2x3xf32> {stepwell.name = "x:0"} loc("x:0"))' in text
    assert "graph.binary add %x, " in text and "%y_out = graph.unary relu" in text
    assert 'stepwell.level = "graph"' in text
    assert list(store) == ["b"]


def test_weights_stay_outside_and_unused_ones_are_left_out(make_model: MakeModel) -> None:
    module, store = import_onnx(
        make_model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": X}, weights={"w": X.T, "unused": X})
    )
    (op,) = (op for op in module.walk() if isinstance(op, graph.WeightOp))
    assert op.ref == store.reference("w") and list(store) == ["w"]
    np.testing.assert_array_equal(interpret(module, {"x": X}, store)["y"], X @ X.T)


def test_initialisers_may_be_inputs_too(make_model: MakeModel) -> None:
    """Files of IR version 3 list every initialiser as an input."""
    model = make_model(
        [helper.make_node("Mul", ["x", "s"], ["y"])], {"x": X, "s": X[0]}, weights={"s": X[0]}, ir_version=3, opset=8
    )
    module, _ = import_onnx(model)
    assert argument_names(main_function(module)) == ["x"]


def test_one_value_under_several_names_and_as_output(make_model: MakeModel) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["w"], ["z"])]
    module, store = import_onnx(make_model(nodes, {"x": X}, ["y", "z", "y2"][:2], {"w": X[1]}))
    got = interpret(module, {"x": X}, store)
    np.testing.assert_array_equal(got["y"], X)
    np.testing.assert_array_equal(got["z"], X[1])


def constant(name: str, **value: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], name=f"const/{name}", **value)


def test_constants_of_every_kind(make_model: MakeModel) -> None:
    nodes = [
        constant("t", value=numpy_helper.from_array(X)),
        constant("f", value_float=2.0),
        constant("fs", value_floats=[1.0, 2.0, 3.0]),
        constant("is_", value_ints=[3, 2]),
        helper.make_node("Add", ["x", "t"], ["a"]),
        helper.make_node("Mul", ["a", "f"], ["b"]),
        helper.make_node("Sub", ["b", "fs"], ["c"]),
        helper.make_node("Reshape", ["c", "is_"], ["y"]),
    ]
    model = make_model(nodes, {"x": X})
    module, store = import_onnx(model)
    np.testing.assert_array_equal(interpret(module, {"x": X}, store)["y"], run_reference(model, {"x": X}))
    assert set(store) == {"t", "f", "fs"}


def test_shape_arithmetic_is_folded(make_model: MakeModel) -> None:
    """What torch.onnx writes for x.view(x.size(0), -1)."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        constant("zero", value_int=0),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        constant("axes", value_ints=[0]),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["batch1"]),
        constant("rest", value_ints=[-1]),
        helper.make_node("Concat", ["batch1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    module, store = import_onnx(make_model(nodes, {"x": x}))
    assert ops(module) == ["reshape", "func.return"] and not len(store)
    assert interpret(module, {"x": x}, store)["y"].shape == (2, 12)


def test_local_functions_are_inlined(make_model: MakeModel) -> None:
    body = [helper.make_node("Relu", ["a"], ["t"]), helper.make_node("Neg", ["t"], ["b"])]
    function = helper.make_function("mine", "NegRelu", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    model = make_model([helper.make_node("NegRelu", ["x"], ["y"], domain="mine")], {"x": X}, infer=False)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.functions.append(function)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3]))
    module, store = import_onnx(model)
    assert ops(module) == ["unary", "unary", "func.return"]
    np.testing.assert_array_equal(interpret(module, {"x": X}, store)["y"], -X)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_ops_are_the_same_for_every_batch(batch: int) -> None:
    module, _ = import_onnx(DIGITS, shapes={"image": (batch, 1, 8, 8)})
    assert ops(module).count("broadcast") == 5 and ops(module).count("reshape") == 1


def test_shapes_for_symbolic_inputs(make_model: MakeModel) -> None:
    model = make_model([helper.make_node("Relu", ["image"], ["y"])], {"image": ["batch", 1, "height", 8]})
    for spec in ("4x1x6x8", [4, 1, 6, 8], (4, 1, 6, 8)):
        module, _ = import_onnx(model, shapes={"image": spec})
        assert "tensor<4x1x6x8xf32>" in str(module)
    with pytest.raises(ModelError) as caught:
        import_onnx(model)
    assert caught.value.reasons == (
        'input \'image\' has no fixed shape (batchx1xheightx8): give it one, --shape image:1x1x1x8 or shapes={"image": "1x1x1x8"}',
    )
    with pytest.raises(ModelError, match="input 'image' has shape batchx1xheightx8, shapes gives 4x3x6x8"):
        import_onnx(model, shapes={"image": "4x3x6x8"})
    with pytest.raises(ModelError, match="input 'image' has shape batchx1xheightx8, shapes gives 4x1"):
        import_onnx(model, shapes={"image": "4x1"})
    with pytest.raises(UsageError, match=r"'picture' is no input of the model\n  hint: inputs: \['image'\]"):
        import_onnx(model, shapes={"picture": "1"})
    for bad in ("4x1xax8", "0x1x6x8", "4,1,6,8"):
        with pytest.raises(UsageError, match="image: .* is no shape"):
            import_onnx(model, shapes={"image": bad})


def test_paths_bytes_and_protos_are_the_same(tmp_path: Path, make_model: MakeModel) -> None:
    model = make_model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": X}, weights={"w": X})
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    texts = {str(import_onnx(source)[0]) for source in (model, path, str(path), path.read_bytes())}
    assert len(texts) == 1
    assert model.graph.initializer[0].HasField("raw_data")


def test_external_data(tmp_path: Path, make_model: MakeModel) -> None:
    w: Array = np.random.default_rng(0).standard_normal((3, 40)).astype(np.float32)
    model = make_model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": X}, weights={"w": w})
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    for source, name in ((path, ""), (path.read_bytes(), str(path))):
        _, store = import_onnx(source, name=name)
        np.testing.assert_array_equal(store.array("w"), w)
    with pytest.raises(
        ModelError, match="1 initialisers lie in other files, the first is 'w'\n  hint: import the model by its path"
    ):
        import_onnx(path.read_bytes())
    (tmp_path / "net.data").unlink()
    with pytest.raises(ModelError, match="net.onnx: cannot read the external data"):
        import_onnx(path)


def digits(batch: int) -> tuple[ModuleOp, WeightStore]:
    return import_onnx(DIGITS, shapes={"image": f"{batch}x1x8x8"})


def test_the_digits_network() -> None:
    image = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    module, store = digits(5)
    module.verify()
    assert all(names_of(op) for op in module.walk() if not isinstance(op, ModuleOp | func.FuncOp))
    expected = run_reference(str(DIGITS), {"image": image})
    got = interpret(module, {"image": image}, store)["logits"]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    oracle = interpret(module, {"image": image}, store, float64=True)["logits"]
    np.testing.assert_allclose(got, oracle, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_import_does_not_change_the_model() -> None:
    proto = onnx.load(DIGITS)
    before = proto.SerializeToString(deterministic=True)
    import_onnx(proto, shapes={"image": "1x1x8x8"})
    assert proto.SerializeToString(deterministic=True) == before
    assert str(digits(1)[0]) == str(digits(1)[0])


def outside(tmp_path: Path, make_model: MakeModel, **said: str) -> Path:
    """A model whose weight of 12 bytes lies in `w.bin`, as its entries say."""
    (tmp_path / "models").mkdir(exist_ok=True)
    path = tmp_path / "models" / "net.onnx"
    zeros = np.zeros(3, np.float32)
    model = make_model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": zeros}, weights={"w": zeros})
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **said}.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    (path.parent / "w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (tmp_path / "w.bin").write_bytes(bytes(16))
    return path


def test_external_data_has_a_place_in_its_file(tmp_path: Path, make_model: MakeModel) -> None:
    _, store = import_onnx(outside(tmp_path, make_model, offset="4", length="12"))
    np.testing.assert_array_equal(store.array("w"), np.arange(1, 4, dtype=np.float32))
    assert [Path(file).name for file in store.files] == ["w.bin"]


@pytest.mark.parametrize(
    "said, reason",
    [
        ({"location": "../w.bin"}, "'../w.bin' is not in the folder of the model"),
        ({"location": "/etc/passwd"}, "'/etc/passwd' is not in the folder of the model"),
        ({"location": "link"}, "'link' is not in the folder of the model"),
        ({"location": "."}, "there is no file '.' beside the model"),
        ({"location": ""}, "no file is named for it"),
        ({"location": "gone"}, "there is no file 'gone' beside the model"),
        ({"offset": "8"}, "'w.bin' ends at byte 16, before byte 20"),
        ({"offset": "-4"}, "its offset '-4' is no number of bytes"),
        ({"offset": "9" * 400}, "is no number of bytes"),
        ({"length": "16"}, "it has 16 bytes there, its type and shape need 12"),
    ],
)
def test_external_data_that_is_not_there(
    tmp_path: Path, make_model: MakeModel, said: dict[str, str], reason: str
) -> None:
    path = outside(tmp_path, make_model, **said)
    (path.parent / "link").symlink_to(tmp_path / "w.bin")
    with pytest.raises(ModelError, match="cannot read the external data") as caught:
        import_onnx(path)
    assert [entry for entry in caught.value.reasons if reason in entry], caught.value.reasons
    assert caught.value.reasons[0].startswith("tensor 'w': ")
