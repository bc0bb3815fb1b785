"""The operator sweep: operator x form x element type x width, as named cases `Add/column/float32/2xl+1`, in batches that compile together."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache, partial

import numpy as np
from onnx import defs

from stepwell.testing.conformance.case import Case, node_model
from stepwell.testing.conformance.executors import VECTOR_BYTES
from stepwell.testing.conformance.forms import FOREIGN, WIDTHS, Data, Form
from stepwell.testing.conformance.forms_contractions import CONTRACTIONS
from stepwell.testing.conformance.forms_elementwise import ELEMENTWISE
from stepwell.testing.conformance.forms_logic import LOGIC
from stepwell.testing.conformance.forms_loops import LOOPS
from stepwell.testing.conformance.forms_movement import MOVEMENT
from stepwell.testing.conformance.run import MakeModel

OPERATORS: Mapping[str, tuple[Form, ...]] = {**CONTRACTIONS, **ELEMENTWISE, **LOGIC, **LOOPS, **MOVEMENT}
"""Operator -> its forms. Every operator that a target compiles has an entry."""

ROUNDED: Mapping[str, tuple[float, float]] = {
    "float16": (4e-3, 4e-3),
    "float32": (2e-5, 2e-6),
    "float64": (1e-12, 1e-12),
    "bfloat16": (2e-2, 2e-2),
}
"""Element type -> rtol, atol of functions whose last bits differ between libraries. Other results are equal bit for bit."""
SUMMED: Mapping[str, tuple[float, float]] = {
    "float16": (1e-2, 3e-2),
    "float32": (1e-4, 1e-4),
    "float64": (1e-11, 1e-11),
    "bfloat16": (5e-2, 2e-1),
}
"""The same of sums in another order."""
FUNCTIONS = frozenset({
    "Erf", "Exp", "Gelu", "Log", "LpPool", "ScatterElements", "ScatterND", "Sigmoid", "Sqrt", "Sum", "Swish", "Tanh",
})  # fmt: skip
SUMS = frozenset({
    "AveragePool", "Conv", "CumProd", "CumSum", "DFT", "Det", "GRU", "Gemm", "GlobalAveragePool", "LSTM", "MatMul", "RNN",
    "ReduceSum", "RoiAlign",
})  # fmt: skip


def tolerance(op: str, type: str) -> tuple[float, float]:
    """rtol and atol of an operator's results."""
    table = ROUNDED if op in FUNCTIONS else SUMMED if op in SUMS else {}
    return table.get(type, (0.0, 0.0))


@cache
def element_types(op: str) -> frozenset[str]:
    """The element types that ONNX allows for the first operand (of a Constant: the result)."""
    schema = defs.get_schema(op, 20 if defs.has(op, 20, "") else defs.onnx_opset_version())
    allowed = (schema.inputs or schema.outputs)[0].types
    names = {"tensor(float)": "float32", "tensor(double)": "float64"}
    return frozenset(names.get(kind, kind.removeprefix("tensor(").removesuffix(")")) for kind in allowed)


def sweep_cases(executor: str, operators: Mapping[str, tuple[Form, ...]] = OPERATORS) -> dict[str, MakeModel]:
    """Case name -> case."""
    found: dict[str, MakeModel] = {}
    for op in sorted(operators):
        for position, form in enumerate(operators[op]):
            for type in form.types:
                if type not in element_types(op) or (type in FOREIGN and position):
                    continue
                for width in form.widths(type):
                    name = f"{op}/{form.name}/{type}/{width}"
                    found[name] = partial(_case, executor, name, op, form, type, width)
    return found


def _case(executor: str, name: str, op: str, form: Form, type: str, width: str) -> Case:
    data = Data(type, np.random.default_rng(zlib.crc32(name.encode())), 1)
    data.lanes = max(2, VECTOR_BYTES[executor] // data.dtype.itemsize)
    rows, vectors, more = WIDTHS.get(width, (1, 1, 0))
    spec = form.make(data, rows, vectors * data.lanes + more)
    feeds = {f"x{n}": np.asarray(array) for n, array in enumerate(spec.inputs)}
    rtol, atol = tolerance(op, type)
    return Case(name, node_model(op, spec), feeds, None, rtol, atol, spec.survives)


def batches(names: list[str]) -> list[list[str]]:
    """The widths of one operator, form and type compile together."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition("/")[0], []).append(name)
    return list(groups.values())
