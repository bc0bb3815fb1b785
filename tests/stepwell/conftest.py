"""The example network, compiled once for all tests here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits"
BATCH = 4


@pytest.fixture(scope="session")
def digits_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of the digits network with two sections, for batches of 4."""
    from stepwell.api.compile import compile_plan
    from stepwell.runtime.plan_file import write_plan

    path = tmp_path_factory.mktemp("digits") / "digits.plan"
    plan = compile_plan(DIGITS / "digits.onnx", target=["cpu", "sm_90a"], shapes={"image": (BATCH, 1, 8, 8)})
    write_plan(plan, path)
    return path


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The NumPy reference of the example."""
    return _example("reference")


@pytest.fixture(scope="session")
def integer_model() -> ModuleType:
    """The example's twin with integer weights."""
    return _example("integer_model")


def _example(name: str) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(f"digits_{name}", DIGITS / f"{name}.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
