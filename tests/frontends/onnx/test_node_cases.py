"""ONNX's own node tests for every operator that is imported: agree with their data, or be refused with a reason; nothing else."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.onnx import SUPPORTED_OPS, import_onnx
from stepwell.runtime.errors import ModelError

PARAMETERS = ("shape", "axes")
"""Inputs that are parameters of an operator: networks have them as constants, so they are made initialisers here."""

REFUSABLE = (
    "which no op supports",
    "is no tensor",
    "products of batches",
    "is not computed",
    "training_mode",
    "have no element type",
    "conversion to",
)
"""What the reasons of refused cases say."""


def cases() -> list[Any]:
    """The node tests whose operators are all imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    graphs = [(case, case.model.graph) for case in found if case.model is not None]
    return [case for case, graph in graphs if {node.op_type for node in graph.node} <= set(SUPPORTED_OPS)]


def array(value: Any) -> Array:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def check(case: Any) -> str:
    """Empty when the case agrees, otherwise the reasons for refusing it."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    inputs, outputs = case.data_sets[0]
    feeds = dict(zip([entry.name for entry in model.graph.input], inputs, strict=True))
    for name in [name for name in feeds if name in PARAMETERS]:
        model.graph.initializer.append(numpy_helper.from_array(array(feeds.pop(name)), name))
    try:
        module, weights = import_onnx(model)
    except ModelError as error:
        return "; ".join(error.reasons)
    got = interpret(module, {name: array(value) for name, value in feeds.items()}, weights)
    for entry, value in zip(model.graph.output, outputs, strict=True):
        expected = array(value)
        assert (got[entry.name].dtype, got[entry.name].shape) == (expected.dtype, expected.shape), case.name
        np.testing.assert_allclose(got[entry.name], expected, rtol=1e-3, atol=1e-6, err_msg=case.name)
    return ""


def test_node_cases() -> None:
    found = cases()
    refused = {case.name: reasons for case in found if (reasons := check(case))}
    unexplained = {name: why for name, why in refused.items() if not any(text in why for text in REFUSABLE)}
    assert not unexplained
    passed = len(found) - len(refused)
    assert passed >= 177, f"{passed} of {len(found)} pass"
