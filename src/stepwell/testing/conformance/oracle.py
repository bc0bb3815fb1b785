"""What a case should give: ONNX Runtime, and ONNX's reference evaluator for what that does not implement; and how results are compared with it.

The evaluator's erf is a polynomial of seven digits, and its GlobalMaxPool drops dims: the first is computed by `math.erf` in f64, and a result of another
shape than ONNX infers is none. ONNX Runtime's Sign of an f16 NaN is 0, of an f32 or f64 NaN a NaN: it is a NaN in all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from stepwell.dialects.numpy_types import Array
from stepwell.testing.conformance.case import Case


class NoOracle(Exception):
    """Nobody computes this case."""


def expected_of(case: Case) -> Mapping[str, Array]:
    """The outputs by name. Call it in a child: ONNX Runtime may die of a case too."""
    if case.expected is not None:
        return case.expected
    names = [entry.name for entry in case.model.graph.output]
    for oracle in (_precise, _onnxruntime, _reference):
        try:
            results = dict(zip(names, oracle(case), strict=True))
            _check_shapes(case, results)
            return results
        except Exception as error:  # noqa: BLE001 - the next oracle may do
            last = error
    raise NoOracle(f"{type(last).__name__}: {last}".partition("\n")[0])


def _check_shapes(case: Case, results: Mapping[str, Array]) -> None:
    """NoOracle where a result has another shape than the model says."""
    for entry in case.model.graph.output:
        dims = entry.type.tensor_type.shape.dim
        static = entry.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims)
        if static and results[entry.name].shape != tuple(dim.dim_value for dim in dims):
            raise NoOracle(f"{entry.name} has shape {list(results[entry.name].shape)}")


def _precise(case: Case) -> list[Array]:
    """Erf and Gelu of f64, by the C library's functions; Sign of f16."""
    (node,) = case.model.graph.node
    (x,) = case.feeds.values()
    if node.op_type == "Sign" and x.dtype == np.float16:
        return [np.sign(x)]
    if node.op_type not in ("Erf", "Gelu") or x.dtype != np.float64:
        raise NoOracle("no function of its own")
    if node.op_type == "Erf":
        return [_each(math.erf, x)]
    if any(attribute.s == b"tanh" for attribute in node.attribute):
        return [_each(lambda v: v * (0.5 + 0.5 * math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))), x)]
    return [_each(lambda v: v * (0.5 + 0.5 * math.erf(v / math.sqrt(2))), x)]


def _each(function: Callable[[float], float], x: Array) -> Array:
    return np.array([function(float(v)) for v in x.ravel()], np.float64).reshape(x.shape)


def _onnxruntime(case: Case) -> list[Array]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(case.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = [np.asarray(array) for array in session.run(None, dict(case.feeds))]
    return [_typed(array, entry) for array, entry in zip(results, case.model.graph.output, strict=True)]


def _typed(array: Array, output: onnx.ValueInfoProto) -> Array:
    """An output in its own type: ONNX Runtime gives the bytes of 8-bit floats as integers."""
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type))
    return array.view(dtype) if array.dtype == np.uint8 and dtype.itemsize == 1 and dtype.kind == "V" else array


def _reference(case: Case) -> list[Array]:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    with np.errstate(all="ignore"):
        results = ReferenceEvaluator(model).run(None, dict(case.feeds))
    assert isinstance(results, list)
    return [np.asarray(array) for array in results]


def flushed(case: Case) -> Case:
    """The case as a machine sees it that takes denormals of f32 and f64 for zeros and makes none: its bounds reach up to the least normal number."""
    feeds = {name: _without_denormals(array) for name, array in case.feeds.items()}
    return replace(case, feeds=feeds, atol=max(case.atol, float(np.finfo(np.float32).tiny)))


def _without_denormals(array: Array) -> Array:
    if array.dtype not in (np.float32, np.float64):
        return array
    return np.where(np.abs(array) < np.finfo(array.dtype).tiny, np.copysign(array.dtype.type(0), array), array)


def difference(case: Case, expected: Mapping[str, Array], results: Mapping[str, object]) -> str:
    """The first output that differs, and how; empty when all agree."""
    for name, want in expected.items():
        got = np.asarray(results[name])
        if (got.dtype, got.shape) != (want.dtype, want.shape):
            return f"{name} is {got.dtype}{list(got.shape)}, expected {want.dtype}{list(want.shape)}"
        away = ~close(got, want, case.rtol, case.atol)
        if away.any():
            at = tuple(int(i) for i in np.argwhere(away)[0])
            return f"{name}{list(at)} is {got[at]!r}, expected {want[at]!r} ({int(away.sum())} of {away.size} differ)"
    return ""


def close(got: Array, want: Array, rtol: float, atol: float) -> Array:
    """Where `got` is `want` within `atol` + `rtol` * |want|; NaN equals NaN, infinities only themselves."""
    if want.dtype.kind in "biuOSU":  # what is left are floats, those of ml_dtypes among them, whose kind is V
        return np.asarray(got == want)
    with np.errstate(all="ignore"):
        wide, exact = got.astype(np.float64), want.astype(np.float64)
        near = np.abs(wide - exact) <= atol + rtol * np.abs(exact)
    same = (wide == exact) | (np.isnan(wide) & np.isnan(exact))
    return np.asarray(same | (near & np.isfinite(exact)))
