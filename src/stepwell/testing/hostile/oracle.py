"""What ONNX Runtime says of a model, as a command that may die: `python -m stepwell.testing.hostile.oracle MODEL INPUTS OUTPUTS`. And how two
results are compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

TOLERANCES = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-7}
"""Of the largest finite value of the reference."""
REFUSED = 3


def main(words: Sequence[str]) -> int:
    """Run the model; 3 when ONNX Runtime does not take it."""
    import onnxruntime

    from stepwell.cli.arrays import read_inputs, write_outputs

    model, inputs, outputs = words
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        found = session.run(names, read_inputs([inputs]))
    except Exception as error:  # noqa: BLE001 - whatever it says, it says no
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    write_outputs(Path(outputs), dict(zip(names, found, strict=True)))
    return 0


def differences(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> list[str]:
    """What is wrong with `found`, output by output: names, types, shapes, NaN and infinities exactly, numbers within the tolerance of their type."""
    if set(found) != set(expected):
        return [f"outputs {sorted(found)} instead of {sorted(expected)}"]
    return [f"{name!r}: {what}" for name in expected if (what := _difference(found[name], expected[name]))]


def _difference(found: np.ndarray, expected: np.ndarray) -> str:
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return f"{found.dtype}{list(found.shape)} instead of {expected.dtype}{list(expected.shape)}"
    if expected.dtype.kind != "f":
        wrong = np.flatnonzero(found != expected)
        return f"{wrong.size} of {found.size} elements differ, the first at {wrong[0]}" if wrong.size else ""
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
        return "NaN and infinities are elsewhere"
    if not finite.any():
        return ""
    scale = float(np.abs(expected[finite]).max())
    worst = float(np.abs(found[finite].astype(np.float64) - expected[finite].astype(np.float64)).max())
    allowed = TOLERANCES[str(expected.dtype)] * scale + float(np.finfo(expected.dtype).tiny)
    return f"largest difference {worst:.3g} of values up to {scale:.3g}" if worst > allowed else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
