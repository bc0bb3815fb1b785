"""Compare outputs with expected ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stepwell.api.compare import compare_outputs
from stepwell.runtime.errors import UsageError


def check_expected(outputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], rtol: float) -> None:
    """Print how each expected output is met; ComparisonError (exit 1) where one is not, UsageError for one that there is not."""
    unknown = [name for name in expected if name not in outputs]
    if unknown:
        raise UsageError(f"there is no output {unknown[0]!r}", where="--expect", hint=f"outputs: {', '.join(outputs)}")
    report = compare_outputs({name: outputs[name] for name in expected}, expected, rtol=rtol)
    report.check()
    print(report)
