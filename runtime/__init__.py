"""What a deployment needs: plan files, loaders, engines. Imports NumPy and, for CUDA sections, cuda.bindings; nothing
else of the project."""

from stepwell.runtime.engine import BindingInfo, Context, Engine, load
from stepwell.runtime.errors import (
    ComparisonError,
    InternalError,
    MemoryLimitError,
    ModelError,
    PlanError,
    StepwellError,
    UsageError,
)
from stepwell.runtime.plan_file import Plan, Section, read_plan, write_plan

__all__ = [
    "BindingInfo",
    "ComparisonError",
    "Context",
    "Engine",
    "InternalError",
    "MemoryLimitError",
    "ModelError",
    "Plan",
    "PlanError",
    "Section",
    "StepwellError",
    "UsageError",
    "load",
    "read_plan",
    "write_plan",
]
