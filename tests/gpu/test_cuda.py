"""The checks of smoke_cuda.py as tests; skipped where there is no CUDA device of compute capability 9.0."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from stepwell.runtime import PlanError
from stepwell.runtime.cuda_driver import check_device

pytestmark = pytest.mark.gpu


def load_checks() -> dict[str, Any]:
    """The script beside this file as a module."""
    spec = importlib.util.spec_from_file_location("smoke_cuda", Path(__file__).with_name("smoke_cuda.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.checks())


CHECKS = load_checks()


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_on_the_device(name: str) -> None:
    try:
        check_device("sm_90")
    except PlanError as error:
        pytest.skip(str(error))
    CHECKS[name]()
