"""One case: a small model, its inputs, what it should give, and the outcome of a run."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from stepwell.dialects.numpy_types import Array

Status = Literal["right", "refused", "late", "wrong", "died", "fault"]
BAD: tuple[Status, ...] = ("wrong", "died", "fault")
"""What may never happen, whatever the case is."""


@dataclass(frozen=True)
class Outcome:
    """How a case ended, and why where it is not right."""

    status: Status
    reason: str = ""


@dataclass(frozen=True)
class Case:
    """A model with inputs. Without `expected` an oracle computes it; with `survives` the values are unspecified (a division by zero) and only the end counts.
    Values agree within `rtol` of the largest expected one and `atol`."""

    name: str
    model: onnx.ModelProto
    feeds: Mapping[str, Array]
    expected: Mapping[str, Array] | None = None
    rtol: float = 0.0
    atol: float = 0.0
    survives: bool = False

    @property
    def opset(self) -> int:
        """The version of the default operator set."""
        return max(entry.version for entry in self.model.opset_import)

    def save(self, path: Path) -> None:
        """Write the case for a child; pickled, because the parent wrote it a moment ago."""
        path.write_bytes(pickle.dumps((self.model.SerializeToString(), {**self.__dict__, "model": None})))


@dataclass(frozen=True)
class Check:
    """A case that says itself how it ended: files of others, that a door imports and the graph interpreter runs. `run` goes to a child: a function of a
    module, or a `functools.partial` of one."""

    name: str
    run: Callable[[], Outcome]

    def save(self, path: Path) -> None:
        """Write the check for a child."""
        path.write_bytes(pickle.dumps(self))


def load_case(path: Path) -> Case | Check:
    """What `save` wrote."""
    held = pickle.loads(path.read_bytes())
    if isinstance(held, Check):
        return held
    data, fields = held
    return Case(**{**fields, "model": onnx.ModelProto.FromString(data)})


@dataclass(frozen=True)
class NodeSpec:
    """What one node is made from: arrays that are inputs, arrays that are weights, attributes. `order` puts weights before inputs where the operator wants it:
    names x0, x1, .. and w0, w1, .., "" for an input that is left out. `outputs`: names of its results."""

    inputs: Sequence[Array]
    weights: Sequence[Array] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 20
    order: Sequence[str] = ()
    survives: bool = False
    outputs: Sequence[str] = ("y",)


def node_model(op: str, spec: NodeSpec) -> onnx.ModelProto:
    """The model of that one node, its results' types and shapes inferred by ONNX."""
    inputs, weights = [f"x{i}" for i in range(len(spec.inputs))], [f"w{i}" for i in range(len(spec.weights))]
    node = helper.make_node(
        op, list(spec.order or [*inputs, *weights]), list(spec.outputs), name="node", **spec.attributes
    )
    declared = [helper.make_tensor_value_info(n, element_code(x), x.shape) for n, x in zip(inputs, spec.inputs)]
    stored = [numpy_helper.from_array(np.asarray(w), n) for n, w in zip(weights, spec.weights)]
    results = [helper.make_empty_tensor_value_info(name) for name in spec.outputs]
    graph = helper.make_graph([node], "net", declared, results, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", spec.opset)], ir_version=10)
    return shape_inference.infer_shapes(model, data_prop=True)


def element_code(array: Array) -> int:
    """ONNX's number of an array's element type."""
    return helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype)


def merged(cases: Sequence[Case]) -> onnx.ModelProto:
    """One model that holds all cases side by side; names of case i begin with `c<i>_`."""
    whole = helper.make_graph([], "net", [], [])
    for number, case in enumerate(cases):
        part = onnx.GraphProto()
        part.CopyFrom(case.model.graph)
        _prefix(part, f"c{number}_")
        whole.node.extend(part.node)
        whole.input.extend(part.input)
        whole.output.extend(part.output)
        whole.initializer.extend(part.initializer)
    first = cases[0].model
    return helper.make_model(whole, opset_imports=list(first.opset_import), ir_version=first.ir_version)


def _prefix(graph: onnx.GraphProto, prefix: str) -> None:
    for node in graph.node:
        node.name = prefix + node.name
        node.input[:] = [prefix + name if name else "" for name in node.input]
        node.output[:] = [prefix + name if name else "" for name in node.output]
    for entry in (*graph.input, *graph.output, *graph.initializer):
        entry.name = prefix + entry.name
