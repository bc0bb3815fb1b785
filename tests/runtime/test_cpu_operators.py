"""Every form of an operator that once was wrong, refused or a signal on the CPU: natively, on each level that this machine runs, beside ONNX
Runtime, or beside what the graph dialect's docstrings promise where ONNX leaves it open. One network holds many nodes, so that it is compiled once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi import onnxruntime_pybind11_state as state

import stepwell
from stepwell.types.targets import CPU_LEVELS, supports

Array = np.ndarray[Any, Any]
HERE = [name for name, target in CPU_LEVELS.items() if supports(target)]
LEVELS = [
    pytest.param(name, marks=() if name in HERE[:1] else pytest.mark.slow if name in HERE else pytest.mark.skip)
    for name in CPU_LEVELS
]
"""The best level of this machine always, the others among the slow tests."""
every_level = pytest.mark.parametrize("level", LEVELS)
RNG = np.random.default_rng(0)
BOOL, F16, F32, F64 = TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE


class Network:
    """Nodes on inputs and constants; every node's result is an output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.feeds: dict[str, Array] = {}
        self.constants: dict[str, Array] = {}

    def add(self, op: str, *operands: Array, constants: Sequence[Array] = (), **attributes: Any) -> None:
        """One node on arrays that are fed, and then on constants."""
        name = f"n{len(self.nodes)}"
        fed = {f"{name}_{i}": np.asarray(array) for i, array in enumerate(operands)}
        held = {f"{name}_c{i}": np.asarray(array) for i, array in enumerate(constants)}
        self.feeds |= fed
        self.constants |= held
        self.nodes.append(helper.make_node(op, [*fed, *held], [f"{name}_y"], **attributes))

    def model(self) -> onnx.ModelProto:
        inputs = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in self.feeds.items()
        ]
        outputs = [helper.make_empty_tensor_value_info(node.output[0]) for node in self.nodes]
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "net", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)

    def check(self, level: str, rtol: float = 1e-5) -> None:
        """Against ONNX Runtime, or ONNX's reference where that has no kernel for a type."""
        model = self.model()
        try:
            session: Any = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        except (state.Fail, state.NotImplemented):
            session = ReferenceEvaluator(model)
        self.expect(level, session.run(None, self.feeds), rtol)

    def expect(self, level: str, expected: Sequence[Array], rtol: float = 0.0) -> None:
        """Against given arrays."""
        found = stepwell.compile(self.model(), target=level).run(self.feeds)
        for node, wanted in zip(self.nodes, expected, strict=True):
            result = found[node.output[0]]
            what = f"{node.op_type} {[self.feeds.get(n, self.constants.get(n)).shape for n in node.input]}"  # type: ignore[union-attr]
            assert (result.dtype, result.shape) == (wanted.dtype, wanted.shape), what
            bound = max(rtol, 2e-3) if wanted.dtype == np.float16 and rtol else rtol
            np.testing.assert_allclose(result, wanted, rtol=bound, atol=bound, err_msg=what)


def normal(*shape: int, dtype: Any = np.float32) -> Array:
    """Normal numbers."""
    return np.asarray(RNG.standard_normal(shape)).astype(dtype)


@every_level
def test_bools_are_bytes(level: str) -> None:
    """LLVM packs vectors of i1 into bits: no width of a vector may do that in memory."""
    net = Network()
    for shape in [(), (1,), (15,), (16,), (65,), (7, 100)]:
        net.add("Cast", np.asarray(RNG.random(shape) < 0.5), to=F32)
        net.add("Cast", np.asarray(RNG.integers(0, 2, shape)).astype(np.float32), to=BOOL)
    net.add("Transpose", RNG.random((16, 33)) < 0.5)
    net.add("Transpose", RNG.random((3, 4, 5)) < 0.5, perm=(1, 0, 2))
    net.add("Identity", RNG.random(5) < 0.5)
    net.check(level)


@every_level
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_integer_division_is_never_a_signal(level: str, dtype: Any) -> None:
    """Toward zero; 0 for a division by zero; the lowest number over -1 wraps. Any width, so that masked lanes divide too."""
    info, net, expected = np.iinfo(dtype), Network(), []
    for count in (1, 3, 17, 70):
        a, b = (RNG.integers(-9, 10, count).astype(dtype) for _ in range(2))
        a[0], b[0] = info.min, -1
        quotient = np.where(b == 0, 0, np.trunc(a / np.where(b == 0, 1, b))).astype(np.float64)
        quotient[0] = 0
        wanted = quotient.astype(dtype)
        wanted[0] = info.min
        net.add("Div", a, b)
        expected.append(wanted)
    net.expect(level, expected)


@every_level
def test_every_form_of_broadcasting(level: str) -> None:
    net = Network()
    forms: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((2, 3, 5, 7), ()), ((3,), ()), ((), (7,)), ((2, 3, 5, 7), (3, 1, 1)), ((2, 3, 5, 7), (1,)), ((4, 1), (1, 6)),
        ((2, 1, 5, 1), (3, 1, 7)), ((33,), (2, 33)), ((2, 1), (2, 33)), ((1, 1, 1, 1), (17,)), ((2, 3, 4, 1, 2), (3, 1, 6, 1)),
        ((2, 1, 4, 1, 5, 1, 6), (1, 3, 1, 2, 1, 4, 1)), ((), ()), ((0, 4), (1, 4)),
    ]  # fmt: skip
    for a, b in forms:
        net.add("Mul", normal(*a), normal(*b))
        net.add("Sub", normal(*a), constants=[normal(*b)])
    net.add("Add", np.arange(6, dtype=np.int64).reshape(2, 3), np.asarray(2**40))
    net.check(level)


@every_level
def test_gemm_of_every_addend(level: str) -> None:
    net = Network()
    for c in [(), (1,), (7,), (5, 1), (1, 7), (5, 7), (1, 1)]:
        net.add("Gemm", normal(5, 9), constants=[normal(9, 7), normal(*c)], alpha=0.5, beta=3.0)
        net.add("Gemm", normal(9, 5), normal(7, 9), normal(*c), alpha=2.0, beta=1.0, transA=1, transB=1)
    net.add(
        "Gemm", normal(5, 9, dtype=np.float64), constants=[normal(9, 63, dtype=np.float64), np.asarray(2.0)], beta=2.0
    )
    net.check(level, 1e-4)


@every_level
def test_functions_of_every_float(level: str) -> None:
    net = Network()
    for dtype in (np.float16, np.float32, np.float64):
        for op in ("Exp", "Tanh", "Sigmoid", "Erf", "Log", "Sqrt", "Gelu", "Abs", "Neg", "Relu"):
            if op == "Gelu" and dtype == np.float64:
                continue  # ONNX Runtime has none
            x = normal(2, 19, dtype=dtype) * 3
            net.add(op, (np.abs(x) + x.dtype.type(0.1)) if op in ("Log", "Sqrt") else x)
    whole: list[Any] = [np.int8, np.int16, np.int32, np.int64]
    for dtype in whole:
        net.add("Abs", np.array([-3, 0, 5, np.iinfo(dtype).max, -np.iinfo(dtype).max], dtype))
    net.check(level, 1e-6)


@every_level
def test_average_pools_that_do_not_count_pads(level: str) -> None:
    net = Network()
    net.add("AveragePool", normal(1, 4, 8, 8), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    net.add("AveragePool", normal(2, 3, 7, 9), kernel_shape=[2, 3], strides=[2, 2], pads=[1, 0, 0, 1])
    net.add("AveragePool", normal(1, 3, 7, 7), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    net.add("AveragePool", normal(1, 17, 9), kernel_shape=[3], pads=[1, 1])
    net.add("AveragePool", normal(1, 2, 5, 5, 5), kernel_shape=[2, 2, 2], pads=[0, 1, 0, 1, 0, 1])
    net.add("AveragePool", normal(1, 2, 8, 8), kernel_shape=[3, 3], dilations=[2, 2], pads=[1, 1, 1, 1])
    net.add("AveragePool", normal(1, 2, 8, 8), kernel_shape=[2, 2], auto_pad="SAME_LOWER")
    net.check(level)


@every_level
def test_convolutions_without_a_matrix_product(level: str) -> None:
    """Groups of several channels, windows of four dims, f64 beside the vector width."""
    net = Network()
    net.add("Conv", normal(2, 8, 7, 5), constants=[normal(6, 4, 3, 3), normal(6)], group=2)
    net.add("Conv", normal(1, 4, 6, 6), constants=[normal(8, 1, 3, 3)], group=4, pads=[1, 0, 1, 2], strides=[2, 1])
    net.add("Conv", normal(1, 6, 6, 6), normal(9, 2, 1, 1), group=3)
    net.add("Conv", normal(1, 4, 7, 7), constants=[normal(6, 2, 3, 3)], group=2, dilations=[2, 2])
    for outputs in (63, 33, 7):
        image, filter = normal(1, 3, 6, 6, dtype=np.float64), normal(outputs, 3, 3, 3, dtype=np.float64)
        net.add("Conv", image, constants=[filter], pads=[1, 1, 1, 1])
    net.check(level, 1e-4)


@every_level
def test_transposes_of_any_rank(level: str) -> None:
    net = Network()
    for permutation in [
        (4, 2, 0, 3, 1),
        (1, 0, 3, 2, 5, 4),
        (5, 3, 1, 4, 2, 0),
        (0, 2, 1, 4, 3, 6, 5),
        (7, 5, 3, 1, 6, 4, 2, 0),
    ]:
        x = normal(*(2, 3, 2, 3, 2, 3, 2, 3)[: len(permutation)])
        net.add("Transpose", x, perm=permutation)
    net.add("Transpose", RNG.integers(-9, 9, (5, 1, 18)).astype(np.int16), perm=(2, 0, 1))
    net.add("Transpose", normal(0, 3, 4), perm=(1, 0, 2))
    net.check(level)


NUMBERS = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-40, 0.5, -0.5, 1.5, -2.5, 127.9, 128, -129, 300, 65504, 65519.999, 65520, 2147483520, 2147483648, -2147483904, 9.3e18, -9.3e18]  # fmt: skip


def as_whole_numbers(x: Array, dtype: Any) -> Array:
    """What graph.cast promises: toward zero, the nearest number of the type where x is beyond it, 0 for NaN."""
    info = np.iinfo(dtype)
    wide = np.nan_to_num(x.astype(np.longdouble), nan=0, posinf=2.0**70, neginf=-(2.0**70))
    return np.array([int(min(max(int(v), info.min), info.max)) for v in np.trunc(wide)], dtype)


@every_level
def test_casts_between_all_types(level: str) -> None:
    """With what ONNX leaves open (NaN and numbers beyond an integer's range), at a width that cuts vectors."""
    types: list[Any] = [np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.bool_]
    net, expected = Network(), list[Array]()
    x: Array
    for before in types:
        for after in types:
            with np.errstate(all="ignore"):
                if np.dtype(before).kind == "f":
                    x = np.asarray(NUMBERS).astype(before)
                    if np.dtype(after).kind == "f":
                        x[np.abs(x) < 1e-30] = 0  # denormals are flushed by arithmetic, not by comparisons
                elif before is np.bool_:
                    x = RNG.random(19) < 0.5
                else:
                    x = np.append(RNG.integers(-100, 100, 17), [np.iinfo(before).min, np.iinfo(before).max]).astype(
                        before
                    )
                whole = np.dtype(before).kind == "f" and np.dtype(after).kind == "i"
                expected.append(as_whole_numbers(x, after) if whole else x.astype(after))
            net.add("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(after)))
    net.expect(level, expected)


@every_level
def test_extents_of_zero_and_one(level: str) -> None:
    """Nothing in, nothing out; a sum over nothing is 0."""
    net = Network()
    net.add("Relu", normal(0, 4))
    net.add("Cast", normal(3, 0), to=F16)
    net.add("Conv", normal(0, 3, 6, 6), constants=[normal(4, 3, 3, 3), normal(4)], pads=[1, 1, 1, 1])
    net.add("MaxPool", normal(0, 2, 8, 8), kernel_shape=[2, 2])
    net.add("Conv", normal(1, 1, 1, 1), constants=[normal(1, 1, 1, 1), normal(1)])
    net.add("MatMul", normal(1, 1), normal(1, 1))
    net.add("MatMul", normal(0, 9), constants=[normal(9, 7)])
    net.add("Gemm", normal(5, 9), constants=[normal(9, 0)])
    net.check(level)
    empty = Network()
    empty.add("MatMul", normal(5, 0), normal(0, 7))
    empty.add("Add", np.zeros((0,), np.int64), np.zeros((1,), np.int64))
    empty.add("GlobalAveragePool", normal(2, 0, 4, 4))
    empty.expect(level, [np.zeros((5, 7), np.float32), np.zeros(0, np.int64), np.zeros((2, 0, 1, 1), np.float32)])
