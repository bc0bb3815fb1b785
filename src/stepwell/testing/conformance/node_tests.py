"""ONNX's own node tests as cases: the models and data that ship with the onnx package."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from functools import cache, partial
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from stepwell.dialects.numpy_types import Array
from stepwell.testing.conformance.case import Case
from stepwell.testing.conformance.run import MakeModel

PARAMETERS = frozenset(
    [
        "K",
        "axes",
        "axis",
        "depth",
        "dft_length",
        "ends",
        "k",
        "pads",
        "repeats",
        "roi",
        "scales",
        "shape",
        "sizes",
        "split",
    ]
    + ["starts", "steps"]
)
"""Inputs that are parameters of an operator: networks have them as constants, so they are made initialisers here."""


ROUNDED = {"float16": 2**-9, "bfloat16": 2**-6}
"""Two units in the last place: ONNX's reference rounds to 16 bits after each step of a softmax, the interpreter once."""


def node_tests() -> dict[str, MakeModel]:
    """Test name -> case. Collecting them takes seconds: ONNX makes the data anew."""
    return {test.name: partial(_case, test) for test in _collected()}


@cache
def _collected() -> tuple[Any, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return tuple(collect_testcases(None))


def _case(test: Any) -> Case:
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    inputs, outputs = test.data_sets[0]
    feeds = dict(zip([entry.name for entry in model.graph.input], map(as_array, inputs), strict=False))
    for name in PARAMETERS & set(feeds):
        model.graph.initializer.append(numpy_helper.from_array(feeds.pop(name), name))
    expected = dict(zip([entry.name for entry in model.graph.output], map(as_array, outputs), strict=False))
    narrow = max((ROUNDED.get(array.dtype.name, 0.0) for array in expected.values()), default=0.0)
    drawn = _kind(model) == "random"
    return Case(
        test.name, model, feeds, expected, rtol=max(test.rtol, narrow), atol=max(test.atol, 1e-6), survives=drawn
    )


def as_array(value: Any) -> Array:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if (
        isinstance(value, list) or value is None
    ):  # a sequence or an optional: no executor takes one, but the case goes to it
        made: Array = np.empty((), object)
        made[()] = value
        return made
    return np.asarray(value)


def operators_of(names: Collection[str]) -> set[str]:
    """The operators of those of these tests that are about one operator only."""
    found = set()
    for test in _collected():
        operators = {node.op_type for node in test.model.graph.node}
        if test.name in names and len(operators) == 1:
            found |= operators
    return found


RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
TRAINING = frozenset({"ai.onnx.preview.training"})


def without_tensors() -> dict[str, str]:
    """The tests that are counted apart, and as what: sequences, optionals and strings come in or out, numbers are drawn, or weights are trained."""
    return {test.name: kind for test in _collected() if (kind := _kind(test.model))}


def _kind(model: onnx.ModelProto) -> str:
    types = [entry.type for entry in (*model.graph.input, *model.graph.output)]
    if any(kind.WhichOneof("value") != "tensor_type" for kind in types):
        return "sequences and optionals"
    if any(kind.tensor_type.elem_type == onnx.TensorProto.STRING for kind in types):
        return "strings"
    if any(node.op_type in RANDOM for node in model.graph.node):
        return "random"
    return "training" if any(node.domain in TRAINING for node in model.graph.node) else ""
