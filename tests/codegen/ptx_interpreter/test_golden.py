"""What a GPU computed (`tests/gpu/record_golden.py`), replayed: wgmma of every type, layout and transposition, and tensor copies of every mode."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from stepwell.codegen.ptx_interpreter import parse, run_entry
from stepwell.codegen.ptx_interpreter.program import tensor_map
from stepwell.dialects.hopper.simulator import GlobalBuffer
from stepwell.runtime.program import TensorMap
from stepwell.testing.golden import Golden, everything

NAMES = [golden.name for golden in everything()]


@cache
def by_name() -> dict[str, Golden]:
    return {golden.name: golden for golden in everything()}


def replay(golden: Golden, seed: int = 0) -> np.ndarray:
    """The words that the interpreter gives."""
    first = golden.arguments[0]
    assert isinstance(first, np.ndarray)
    source = GlobalBuffer.of_array("source", first, constant=True)
    output = GlobalBuffer.poisoned("output", golden.output // 4, np.uint32)
    arguments: list[Any] = [source]
    for argument in golden.arguments[1:]:
        match argument:
            case TensorMap():
                arguments.append(tensor_map(argument, source))
            case np.ndarray():
                arguments.append(GlobalBuffer.of_array("start", argument.view(np.uint32), constant=True))
            case number:
                arguments.append(number)
    run_entry(parse(golden.ptx), "golden", [*arguments, output], (1, 1, 1), shared=golden.shared, seed=seed)
    return output.values()


@pytest.mark.parametrize("name", NAMES)
def test_replay(name: str) -> None:
    replay(by_name()[name])
