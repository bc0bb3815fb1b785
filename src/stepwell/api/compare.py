"""`compare`: the outputs of an engine beside those of another engine, of an interpreter, of ONNX Runtime, or given arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stepwell.api.bench import random_inputs
from stepwell.runtime.engine import Engine
from stepwell.runtime.errors import ComparisonError, UsageError

if TYPE_CHECKING:
    from xdsl.dialects.builtin import ModuleOp

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class OutputReport:
    """One output: the largest difference, the largest reference value, and whether the difference is allowed."""

    name: str
    worst: float
    scale: float
    identical: bool
    agrees: bool

    def __str__(self) -> str:
        if self.identical:
            return f"{self.name}: bit for bit the same"
        verdict = "agrees" if self.agrees else "DIFFERS"
        return f"{self.name}: {verdict}, largest difference {self.worst:.3g} of values up to {self.scale:.3g}"


@dataclass(frozen=True)
class CompareReport:
    """All outputs."""

    outputs: tuple[OutputReport, ...]

    @property
    def agrees(self) -> bool:
        """Whether all do."""
        return all(output.agrees for output in self.outputs)

    def __str__(self) -> str:
        return "\n".join(map(str, self.outputs))

    def check(self) -> None:
        """A ComparisonError (exit 1) unless all outputs agree."""
        if not self.agrees:
            raise ComparisonError(f"outputs differ\n{self}")


def compare(
    engine: Engine,
    reference: Engine | ModuleOp | str | Path | Outputs,
    *,
    inputs: Outputs | None = None,
    rtol: float = 1e-3,
) -> CompareReport:
    """Run both on `inputs` (random ones unless given) and compare: `rtol` times the largest reference value is allowed. `reference` is an
    engine, a module (interpreted), an ONNX file (run by ONNX Runtime), or the outputs themselves."""
    values = dict(inputs) if inputs is not None else random_inputs(engine)
    if isinstance(reference, Mapping) and inputs is None:
        raise UsageError("reference outputs need the inputs that they belong to", where="inputs")
    expected = _reference_outputs(reference, values)
    return compare_outputs(engine.run(values), expected, rtol=rtol)


def compare_outputs(found: Outputs, expected: Outputs, *, rtol: float = 1e-3) -> CompareReport:
    """The arrays of `found` beside those of `expected` with the same names. Equal values, infinite ones too, and NaNs in one place have no difference."""
    missing = [name for name in found if name not in expected]
    if missing:
        raise UsageError(f"the reference has no output '{missing[0]}'", hint=f"it has {', '.join(expected)}")
    return CompareReport(tuple(_report(name, found[name], np.asarray(expected[name]), rtol) for name in found))


def _report(name: str, found: np.ndarray, expected: np.ndarray, rtol: float) -> OutputReport:
    if found.shape != expected.shape:
        raise UsageError(f"shape {list(found.shape)} against {list(expected.shape)}", where=name)
    identical = found.dtype == expected.dtype and found.tobytes() == expected.tobytes()
    left, right = found.astype(np.float64), expected.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.abs(left - right))
    scale = float(np.abs(right[np.isfinite(right)]).max(initial=0.0))
    worst = float(gap.max(initial=0.0))
    return OutputReport(name, worst, scale, identical, identical or worst <= rtol * scale)


def _reference_outputs(reference: Engine | ModuleOp | str | Path | Outputs, inputs: Outputs) -> Outputs:
    if isinstance(reference, Engine):
        return reference.run(inputs)
    if isinstance(reference, Mapping):
        return reference
    if isinstance(reference, str | Path):
        return _onnxruntime(Path(reference), inputs)
    from stepwell.api.compile import interpret

    return interpret(reference, dict(inputs))


def _onnxruntime(path: Path, inputs: Outputs) -> Outputs:
    try:
        import onnxruntime
    except ImportError:
        raise UsageError("ONNX Runtime is not installed", hint="pip install 'stepwell[bench]'") from None
    if path.suffix != ".onnx" or not path.is_file():
        raise UsageError("ONNX Runtime needs an ONNX file", where=str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))
