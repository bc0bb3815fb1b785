"""Whole ONNX models at the edge of what is allowed: odd names, extents 0, 1, primes and 2^31, every element type, values that are no numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from stepwell.frontends.onnx.converters import CONVERTERS

NAMES = (
    "12",
    "é",
    "日本",
    'a"b',
    "a\nb",
    "a\\b",
    "%0",
    "_0",
    "x y",
    "x=y",
    "file",
    "/a/b:0",
    "-",
    "y" * 200,
    "a_1",
    "a_1_2",
    "main",
    "🙂",
)
TYPES = (
    "float16",
    "float32",
    "float64",
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
)
USUAL = ("float32", "float32", "float32", "float16", "float64", "int32", "int64", "bool", "int8")
EXTENTS = (1, 1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 31, 33)
HUGE = (2**31, 2**31 - 1, 2**32, 2**40, 2**62)
SPECIAL = (float("nan"), float("inf"), float("-inf"), -0.0, 1e-45, -1e-40, 3.4e38, 6e-8)
"""As float16 the largest becomes infinity. Not its largest number: ONNX Runtime computes chains of float16 in float32, where nothing overflows."""
FLOATS = ("float16", "float32", "float64")

Value = tuple[str, str, tuple[int, ...]]
"""Name, element type, shape."""


@dataclass
class HostileNetwork:
    """A model with inputs for it; `huge` where it only has to be compiled or refused, `comparable` where an oracle may be asked."""

    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    huge: bool = False
    comparable: bool = True
    steps: tuple[str, ...] = ()


@dataclass
class _Growing:
    random: Random
    values: list[Value] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    tame: bool = False

    def name(self) -> str:
        """A new name, odd as often as not."""
        base = self.random.choice(NAMES) if self.random.random() < 0.6 else "t"
        number = 0
        while (found := base if not number else f"{base}_{number}") in self.taken:
            number += 1
        self.taken.add(found)
        return found

    def constant(self, array: np.ndarray) -> str:
        """A new initialiser."""
        name = self.name()
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def emit(self, op: str, inputs: list[str], dtype: str, shape: tuple[int, ...], **attributes: Any) -> None:
        """A node with one output of this type."""
        output = self.name()
        label = self.random.choice(("", output, "node", "12"))
        self.nodes.append(helper.make_node(op, inputs, [output], label, **attributes))
        self.values.append((output, dtype, shape))


def network(random: Random) -> HostileNetwork:
    """A network of one to four nodes."""
    huge, zero = random.random() < 0.06, random.random() < 0.1
    net = _Growing(random)
    dtype = random.choice(TYPES) if random.random() < 0.3 else random.choice(USUAL)
    shape = [random.choice(EXTENTS) for _ in range(random.randint(0, 4))]
    if shape and (huge or zero):
        shape[random.randrange(len(shape))] = random.choice(HUGE) if huge else 0
    for _ in range(random.randint(1, 2)):
        net.inputs.append((net.name(), dtype, tuple(shape)))
    net.values += net.inputs
    for _ in range(random.randint(1, 4)):
        random.choice(STEPS)(net, random.choice(net.values[-2:]))
    if not net.nodes:
        _unary(net, net.values[0])
    return _closed(net, huge and bool(shape))


def _closed(net: _Growing, huge: bool) -> HostileNetwork:
    random = net.random
    made = net.values[len(net.inputs) :] or net.values
    outputs = [made[-1]] if random.random() < 0.6 else random.sample(made, random.randint(1, len(made)))
    if random.random() < 0.05:
        outputs = [*outputs, random.choice([*outputs, net.inputs[0]])]  # listed twice, or an input
    declared = [
        [helper.make_tensor_value_info(n, _code(d), s) for n, d, s in listed] for listed in (net.inputs, outputs)
    ]
    graph = helper.make_graph(net.nodes, random.choice(NAMES), declared[0], declared[1], net.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    inputs = {} if huge else {name: _values(random, dtype, shape, net.tame) for name, dtype, shape in net.inputs}
    comparable = len({name for name, _, _ in outputs}) == len(outputs) and _accepted(model)
    return HostileNetwork(model, inputs, huge, comparable, tuple(node.op_type for node in net.nodes))


def _code(dtype: str) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _accepted(model: onnx.ModelProto) -> bool:
    """Whether ONNX's own checker and shape inference take the model with the types that it declares."""
    try:
        onnx.checker.check_model(model)
        shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except Exception:  # noqa: BLE001 - they raise exceptions of many kinds
        return False
    return True


def _values(random: Random, dtype: str, shape: tuple[int, ...], tame: bool) -> np.ndarray:
    generator = np.random.default_rng(random.getrandbits(32))
    kind = np.dtype(dtype).kind
    if kind == "f":
        array = np.asarray(generator.standard_normal(shape) * 2).astype(dtype)
        if not tame and array.size and random.random() < 0.5:
            with np.errstate(all="ignore"):
                specials = np.asarray(SPECIAL, np.float64).astype(dtype)
            flat = array.reshape(-1)
            flat[generator.integers(0, flat.size, min(flat.size, 4))] = generator.choice(specials, min(flat.size, 4))
            array = flat.reshape(shape)
        return array
    return np.asarray(generator.integers(0 if kind in "ub" else -9, 2 if kind == "b" else 10, shape)).astype(dtype)


# --- steps: each appends one node (or nothing, where it does not fit)

Step = Callable[[_Growing, Value], None]
OF_FLOATS = ("Relu", "Neg", "Abs", "Sigmoid", "Tanh", "Exp", "Sqrt", "Erf", "Log", "Floor", "Ceil", "Identity", "Softplus", "LeakyRelu", "Elu", "Gelu", "Sign", "Reciprocal", "HardSwish")  # fmt: skip
OF_INTEGERS = ("Neg", "Abs", "Identity", "Relu", "Sign")
OF_BOOLS = ("Not", "Identity")
BINARY = {
    "f": ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Equal", "Greater"),
    "b": ("And", "Equal", "Or", "Xor"),
}
OF_TWO_INTEGERS = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Greater", "Mod")


def _op(net: _Growing, usual: tuple[str, ...], others: tuple[str, ...]) -> str:
    """Nearly always an operator that is imported and takes these elements; what is refused tells less."""
    known = [op for op in usual if op in CONVERTERS] or list(usual)
    return net.random.choice(known) if net.random.random() < 0.93 else net.random.choice(others)


def _worth(net: _Growing, op: str) -> bool:
    return op in CONVERTERS or net.random.random() < 0.1


def _unary(net: _Growing, value: Value) -> None:
    name, dtype, shape = value
    kind = np.dtype(dtype).kind
    net.emit(_op(net, {"f": OF_FLOATS, "b": OF_BOOLS}.get(kind, OF_INTEGERS), OF_FLOATS), [name], dtype, shape)


def _binary(net: _Growing, value: Value) -> None:
    name, dtype, shape = value
    op = _op(net, BINARY.get(np.dtype(dtype).kind, OF_TWO_INTEGERS), BINARY["f"])
    result = "bool" if op in ("Equal", "Greater", "And", "Or", "Xor") else dtype
    partners = [v for v in net.values if v[1] == dtype and v[2] == shape]
    if net.random.random() < 0.5:
        other = net.random.choice(partners)[0]
    elif max(shape, default=1) in HUGE:
        other = net.constant(np.ones((), dtype))
    else:
        kept = [extent if net.random.random() < 0.6 else 1 for extent in shape][net.random.randint(0, len(shape)) :]
        other = net.constant(_values(net.random, dtype, tuple(kept), True))
    inputs = [name, other] if net.random.random() < 0.7 else [other, name]
    net.emit(op, inputs, result, shape)


def _cast(net: _Growing, value: Value) -> None:
    name, dtype, shape = value
    to = net.random.choice(TYPES)
    net.tame |= dtype in FLOATS and to not in FLOATS  # what NaN becomes as an integer is not defined
    net.emit("Cast", [name], to, shape, to=_code(to))


def _reshape(net: _Growing, value: Value) -> None:
    name, dtype, shape = value
    wanted = net.random.choice(([-1], [1, -1], [*shape, 1], [0] * len(shape), [2, -1], []))
    count = int(np.prod(shape, dtype=object))
    zero = [shape[d] if extent == 0 and d < len(shape) else extent for d, extent in enumerate(wanted)]
    rest = int(np.prod([extent for extent in zero if extent != -1], dtype=object))
    result = tuple(count // rest if extent == -1 and rest else extent for extent in zero)
    net.emit("Reshape", [name, net.constant(np.asarray(wanted, np.int64))], dtype, result)


def _transpose(net: _Growing, value: Value) -> None:
    name, dtype, shape = value
    if not shape:
        return
    permutation = list(range(len(shape)))
    net.random.shuffle(permutation)
    net.emit("Transpose", [name], dtype, tuple(shape[d] for d in permutation), perm=permutation)


def _matmul(net: _Growing, value: Value) -> None:
    name, dtype, shape = value
    if not shape or max(shape) in HUGE or dtype not in FLOATS:
        return
    columns = net.random.choice(EXTENTS)
    net.tame |= dtype == "float16"
    weight = net.constant(_values(net.random, dtype, (shape[-1], columns), True))
    net.emit("MatMul", [name, weight], dtype, (*shape[:-1], columns))


def _window(net: _Growing, value: Value) -> None:
    name, dtype, shape = value
    spatial = len(shape) - 2
    if spatial < 1 or max(shape) in HUGE:
        return
    kernel, stride = [net.random.choice((1, 2, 3)) for _ in range(spatial)], net.random.choice((1, 2))
    before, after = net.random.choice(((0, 0), (1, 1), (1, 0), (1, 2), (0, 1)))
    pads = [before] * spatial + [after] * spatial
    sizes = [(e + before + after - k) // stride + 1 for e, k in zip(shape[2:], kernel, strict=True)]
    if min(sizes) < 1:
        return
    op = net.random.choice(("Conv", "MaxPool", "AveragePool"))
    net.tame |= op == "MaxPool"  # whether NaN is larger than all is not defined
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [stride] * spatial, "pads": pads}
    if op != "Conv":
        net.emit(op, [name], dtype, (*shape[:2], *sizes), **attributes)
        return
    channels = net.random.choice((1, 2, 3, 8))
    weight = net.constant(_values(net.random, dtype, (channels, shape[1], *kernel), True))
    bias = [net.constant(_values(net.random, dtype, (channels,), True))] if net.random.random() < 0.5 else []
    net.emit(op, [name, weight, *bias], dtype, (shape[0], channels, *sizes), **attributes)


def _reduce(net: _Growing, value: Value) -> None:
    name, dtype, shape = value
    if not shape:
        return
    axis = net.random.randrange(len(shape))
    op = _op(net, ("Softmax", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"), ("ReduceSum",))
    if not _worth(net, op):
        return
    if op == "Softmax":
        net.emit(op, [name], dtype, shape, axis=axis)
        return
    axes = net.constant(np.asarray([axis], np.int64))
    net.emit(op, [name, axes], dtype, tuple(e for d, e in enumerate(shape) if d != axis), keepdims=0)


def _concat(net: _Growing, value: Value) -> None:
    name, dtype, shape = value
    if not shape or not _worth(net, "Concat"):
        return
    axis = net.random.randrange(len(shape))
    other = net.random.choice([v for v in net.values if v[1] == dtype and v[2] == shape])[0]
    net.emit("Concat", [name, other], dtype, tuple(e * (1 + (d == axis)) for d, e in enumerate(shape)), axis=axis)


STEPS: tuple[Step, ...] = (
    _unary, _unary, _unary, _binary, _binary, _binary, _cast, _reshape, _transpose, _matmul, _window, _window, _reduce, _concat,
)  # fmt: skip
