"""TensorFlow 2's functions: calls, branches, cases, loops and tensor lists; what is no function of the graph, too many of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.frontends.tensorflow.graph_defs import GraphDef

import stepwell
from stepwell.dialects import graph
from stepwell.frontends.tensorflow import import_tensorflow
from stepwell.runtime.errors import ModelError

X = np.array([1.0, -2.0, 3.0], np.float32)


def _function(made: GraphDef, name: str, arguments: str, results: dict[str, str], nodes: list[tuple[Any, ...]]) -> None:
    """A function; nodes are name, operator, inputs and maybe attributes, those of a Const its value."""
    inner = GraphDef()
    for node, op, inputs, *attributes in nodes:
        if op == "Const":
            inner.const(node, attributes[0])
        else:
            inner.node(node, op, *inputs.split(), **(attributes[0] if attributes else {}))
    made.function(name, arguments.split(), results, inner)


def _module(made: GraphDef, *outputs: str) -> Any:
    return import_tensorflow(made.proto.SerializeToString(), outputs=list(outputs))


def _with_branches() -> GraphDef:
    made = GraphDef()
    made.placeholder("x", [3])
    _function(
        made, "more", "v", {"r": "sum:z:0"}, [("one", "Const", "", np.float32(1)), ("sum", "AddV2", "v one:output:0")]
    )
    _function(made, "seven", "v", {"r": "all:output:0"}, [("all", "Const", "", np.full(3, 7, np.float32))])
    _function(made, "square", "v", {"r": "y:z:0"}, [("y", "Mul", "v v")])
    return made


def test_calls_and_operators_that_are_functions() -> None:
    made = _with_branches()
    made.call("a", "PartitionedCall", "x", f="more")
    made.node("y", "square", "a")
    module, weights = _module(made, "y")
    np.testing.assert_array_equal(stepwell.interpret(module, {"x": X}, weights=weights)["y"], (X + 1) ** 2)


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
@pytest.mark.parametrize("op", ["If", "StatelessIf"])
def test_branches(op: str, dtype: str) -> None:
    """Chosen while importing where the condition is a constant, a graph.if where an input says it; a number is true where it is not 0."""
    for fed in (True, False):
        for condition in (0, 1):
            made = _with_branches()
            value = np.array(condition, dtype)
            made.placeholder("c", [], dtype) if fed else made.const("c", value)
            made.call("y", op, "c", "x", then_branch="more", else_branch="seven")
            made.proto.node[-1].attr["Tcond"].type = {"bool": 10, "int32": 3, "float32": 1}[dtype]
            module, weights = _module(made, "y")
            assert ("graph.if" in str(module)) == fed
            got = stepwell.interpret(module, {"x": X, "c": value} if fed else {"x": X}, weights=weights)["y"]
            np.testing.assert_array_equal(got, X + 1 if condition else np.full(3, 7))


@pytest.mark.parametrize("fed", [True, False])
@pytest.mark.parametrize("index", [-1, 0, 1, 2, 5])
def test_cases(index: int, fed: bool) -> None:
    """Any number but those of the other branches means the last one."""
    made = _with_branches()
    value = np.array(index, np.int32)
    made.placeholder("i", [], "int32") if fed else made.const("i", value)
    made.call("y", "StatelessCase", "i", "x", branches=["more", "seven", "square"])
    module, weights = _module(made, "y")
    got = stepwell.interpret(module, {"x": X, "i": value} if fed else {"x": X}, weights=weights)["y"]
    np.testing.assert_array_equal(got, {0: X + 1, 1: np.full(3, 7)}.get(index, X**2))


def test_a_branch_in_a_case() -> None:
    made = _with_branches()
    made.placeholder("i", [], "int32")
    made.placeholder("c", [], "bool")
    _function(made, "inner", "v", {"r": "y:output:0"}, [("zero", "Const", "", np.float32(0)), ("sum", "Sum", "v at:output:0"), ("at", "Const", "", np.array([0], np.int32)), ("positive", "Greater", "sum:output:0 zero:output:0"), ("y", "If", "positive:z:0 v")])  # fmt: skip
    node = made.proto.library.function[-1].node_def[-1]
    node.attr["then_branch"].func.name, node.attr["else_branch"].func.name = "seven", "square"
    made.call("y", "Case", "i", "x", branches=["inner", "more"])
    module, weights = _module(made, "y")
    for index in (0, 1):
        for x in (X, -X):
            got = stepwell.interpret(module, {"x": x, "i": np.array(index, np.int32)}, weights=weights)["y"]
            np.testing.assert_array_equal(got, x + 1 if index else np.full(3, 7) if x.sum() > 0 else x * x)


def _looped(made: GraphDef, limit: int | None) -> None:
    """A loop of a counter, the limit, a matrix that does not change, a vector and a list of the vectors."""
    made.const("zero", np.int32(0))
    made.const("shape", np.array([3], np.int32))
    made.const("size", np.int32(limit or 6))
    made.const("w", np.eye(3, k=1, dtype=np.float32) * 2)
    if limit is None:
        made.placeholder("limit", [], "int32")
    else:
        made.const("limit", np.int32(limit))
    made.node("list", "TensorListReserve", "shape", "size", element_dtype=np.dtype(np.float32))
    _function(made, "going", "i n w v l", {"r": "less:z:0"}, [("less", "Less", "i n")])
    nodes: list[tuple[Any, ...]] = [
        ("one", "Const", "", np.int32(1)),
        ("next", "AddV2", "i one:output:0"),
        ("axis", "Const", "", np.int32(0)),
        ("row", "ExpandDims", "v axis:output:0"),
        ("moved", "MatMul", "row:output:0 w"),
        ("flat", "Squeeze", "moved:product:0", {"squeeze_dims": [0]}),
        ("sum", "AddV2", "flat:output:0 v"),
        ("kept", "TensorListSetItem", "l i sum:z:0"),
    ]
    results = {"i": "next:z:0", "n": "n", "w": "w", "v": "sum:z:0", "l": "kept:output_handle:0"}
    _function(made, "body", "i n w v l", results, nodes)
    made.placeholder("x", [3])
    made.call("loop", "While", "zero", "limit", "w", "x", "list", cond="going", body="body")
    made.node("rows", "TensorListStack", "loop:4", "shape", element_dtype=np.dtype(np.float32))


@pytest.mark.parametrize("limit", [0, 3, 40, None])
def test_loops(limit: int | None) -> None:
    """Short ones are unrolled, others a graph.loop, whose matrix is seen from outside; the list is one tensor in it."""
    made = GraphDef()
    _looped(made, limit)
    outputs = ["loop", "loop:3"] if limit == 0 else ["loop", "loop:3", "rows"]
    module, weights = _module(made, *outputs)
    loops = [op for op in module.walk() if isinstance(op, graph.LoopOp)]
    assert [len(op.carried) for op in loops] == ([3] if limit in (40, None) else [])
    inputs: dict[str, Any] = {"x": X} if limit is not None else {"x": X, "limit": np.array(4, np.int32)}
    results = stepwell.interpret(module, inputs, weights=weights)
    v, rows = X, []
    for _ in range(4 if limit is None else limit):
        v = (v + v @ (np.eye(3, k=1) * 2)).astype(np.float32)
        rows.append(v)
    assert results["loop"] == len(rows)
    np.testing.assert_allclose(np.asarray(results["loop:3"], np.float64), np.asarray(v, np.float64), rtol=1e-5)
    if "rows" in outputs:
        wanted = np.zeros((limit or 6, 3), np.float32)
        wanted[: len(rows)] = rows
        assert np.allclose(results["rows"], wanted, rtol=1e-5)


LISTS: list[tuple[str, list[tuple[str, ...]], Any]] = [
    ("set and get", [("a", "TensorListFromTensor", "x", "shape"), ("b", "TensorListSetItem", "a", "one", "first"), ("y", "TensorListGetItem", "b", "one", "shape")], lambda x: x[0]),
    ("push and pop", [("a", "EmptyTensorList", "shape", "four"), ("b", "TensorListPushBack", "a", "first"), ("c", "TensorListPushBack", "b", "second"), ("d", "TensorListPopBack", "c", "shape"), ("y", "TensorListStack", "d", "shape")], lambda x: x[:1]),
    ("popped", [("a", "EmptyTensorList", "shape", "four"), ("b", "TensorListPushBack", "a", "second"), ("d", "TensorListPopBack", "b", "shape"), ("y", "Identity", "d:1")], lambda x: x[1]),
    ("gather", [("a", "TensorListFromTensor", "x", "shape"), ("y", "TensorListGather", "a", "places", "shape")], lambda x: x[[3, 0]]),
    ("scatter", [("p", "Gather", "x", "places"), ("a", "TensorListScatterV2", "p", "places", "shape", "five"), ("y", "TensorListStack", "a", "shape")], lambda x: np.stack([x[0], 0 * x[0], 0 * x[0], x[3], 0 * x[0]])),
    ("length", [("a", "TensorListFromTensor", "x", "shape"), ("y", "TensorListLength", "a")], lambda x: np.int32(4)),
    ("shape", [("a", "TensorListFromTensor", "x", "shape"), ("y", "TensorListElementShape", "a")], lambda x: [3]),
    ("resize", [("a", "EmptyTensorList", "shape", "four"), ("b", "TensorListPushBack", "a", "first"), ("c", "TensorListResize", "b", "two"), ("y", "TensorListStack", "c", "shape")], lambda x: np.stack([x[0], 0 * x[0]])),
    ("read by an input", [("a", "TensorListFromTensor", "x", "shape"), ("y", "TensorListGetItem", "a", "i", "shape")], lambda x: x[2]),
    ("written by an input", [("a", "TensorListFromTensor", "x", "shape"), ("b", "TensorListSetItem", "a", "i", "first"), ("y", "TensorListStack", "b", "shape")], lambda x: x[[0, 1, 0, 3]]),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "wanted"), [entry[1:] for entry in LISTS], ids=[entry[0] for entry in LISTS])
def test_lists(nodes: list[tuple[str, ...]], wanted: Any) -> None:
    made = GraphDef()
    made.placeholder("x", [4, 3])
    made.placeholder("i", [], "int32")
    for name, value in (("zero", 0), ("one", 1), ("two", 2), ("four", 4), ("five", 5)):
        made.const(name, np.int32(value))
    made.const("shape", np.array([3], np.int32))
    made.const("places", np.array([3, 0], np.int32))
    made.node("first", "Gather", "x", "zero")
    made.node("second", "Gather", "x", "one")
    for name, op, *inputs in nodes:
        made.node(name, op, *inputs, element_dtype=np.dtype(np.float32), shape_type=np.dtype(np.int32))
    module, weights = _module(made, "y")
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    given = {"x": x, "i": np.array(2, np.int32)}
    used = {key: value for key, value in given.items() if f'"{key}"' in str(module)}
    np.testing.assert_array_equal(stepwell.interpret(module, used, weights=weights)["y"], wanted(x))


@pytest.mark.parametrize(
    ("op", "inputs", "functions", "reason"),
    [
        ("If", ("x", "x"), {"then_branch": "more"}, "its else_branch '' is no function of the graph"),
        ("If", (), {"then_branch": "more", "else_branch": "more"}, "it has no condition"),
        ("If", ("x", "x"), {"then_branch": "more", "else_branch": "two"}, "its branches give 2 and 1 values"),
        ("If", ("x",), {"then_branch": "more", "else_branch": "more"}, "gives 0 arguments, its function takes 1"),
        ("Case", ("x", "x"), {"branches": ["more", "none"]}, "are no functions of the graph"),
        ("Case", ("x", "x"), {"branches": ["more", "two"]}, r"its branches give \[1, 2\] values"),
        ("While", ("x",), {"cond": "more", "body": "two"}, "its body and condition do not fit its 1 variables"),
        ("While", ("x",), {"cond": "more", "body": "none"}, "its body 'none' is no function"),
        ("While", ("x",), {"cond": "more", "body": "endless"}, "function 'endless' calls itself"),
        ("PartitionedCall", ("x",), {"f": "laugh_30"}, "have more than 100000 nodes"),
        ("PartitionedCall", ("x",), {"f": "nowhere"}, "this operator is not supported"),
    ],
)
def test_what_is_no_function(op: str, inputs: tuple[str, ...], functions: dict[str, Any], reason: str) -> None:
    made = _with_branches()
    _function(made, "two", "v", {"a": "v", "b": "v"}, [])
    _function(made, "endless", "v", {"r": "y:0"}, [("y", "endless", "v")])
    _function(made, "laugh_0", "v", {"r": "v"}, [])
    for level in range(30):
        calls = [(side, f"laugh_{level}", "v") for side in "ab"]
        _function(made, f"laugh_{level + 1}", "v", {"r": "a:0"}, [*calls])
    made.call("y", op, *inputs, **functions)
    with pytest.raises(ModelError, match=reason):
        _module(made, "y")
