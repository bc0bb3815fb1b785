"""What no family takes: every element of the results is computed with all that it depends on, in blocks of elements. Any rank, element type,
stride and extent; slow. `linalg-choose-config` asks for it last."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, prod

from xdsl.dialects.builtin import TensorType
from xdsl.dialects.linalg.ops import GenericOp

from stepwell.dialects.linalg_interpreter import loop_extents
from stepwell.dialects.tile.config import Config, ConfigAttr
from stepwell.dialects.tile.config import violations as rules
from stepwell.transforms.graph_to_loops.cost import runs_and_steps
from stepwell.transforms.graph_to_loops.table import op_of_loops, write_phases
from stepwell.transforms.linalg._roles import reduction_loops
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg.families.base import Candidate, Family, Setting
from stepwell.transforms.linalg.families.rates import RATES
from stepwell.transforms.linalg_to_tile.write_loops import write_loops
from stepwell.transforms.linalg_to_tile.written import Replacement
from stepwell.types.targets import SM_90A

WORK = 16384  # steps of a tile of loops: long enough beside the microsecond of taking it, short enough to share
THREADS = 128
STEP_NS = 300  # a step waits for its load, behind the arithmetic of its indices
LAUNCH_NS = 1500


def refusals(stages: Stages, setting: Setting) -> Iterator[str]:
    """Nothing: loops take every fusion."""
    yield from ()


def candidates(stages: Stages, setting: Setting) -> Iterator[Candidate]:
    """Blocks of so many elements that a tile is worth taking; on sm_90a a thread for each element."""
    elements, steps = runs_and_steps(stages.fusion) or (elements_of(stages), max(1, steps_of(stages)))
    if not setting.machine.vector_bytes:
        waves = ceil(elements / (SM_90A.multiprocessors * SM_90A.max_threads))
        config = Config(block=(THREADS,), form="loops")
        estimate = LAUNCH_NS + float(waves * steps * STEP_NS)
    else:
        rates = RATES[setting.processor]
        config = Config(block=(max(1, min(1024, WORK // steps)),), form="loops")
        estimate = rates.nanoseconds(elements * steps / rates.steps)
    yield Candidate(FAMILY.name, estimate, config, "one element after the other")


def steps_of(stages: Stages) -> int:
    """Steps of the reductions behind one element."""
    generics = [op for op in stages.fusion.body.block.ops if isinstance(op, GenericOp)]
    return sum(prod(loop_extents(op)[loop] for loop in reduction_loops(op)) for op in generics)


def elements_of(stages: Stages) -> int:
    """Elements of the largest result."""
    types = [result.type for result in stages.fusion.outputs]
    return max((prod(type_.get_shape()) for type_ in types if isinstance(type_, TensorType)), default=0)


def check(stages: Stages, config: Config, setting: Setting) -> str:
    """Every kernel of loops can be built."""
    return ""


def _takes(stages: Stages, config: Config) -> bool:
    return config.form == "loops"


def violations(stages: Stages, config: Config, setting: Setting) -> Iterator[str]:
    """Why a config with form = loops does not fit."""
    yield from rules(config, setting.processor)


def write(stages: Stages, config: Config, name: str, target: str | None) -> Replacement:
    """A `tile.loops` with the fusion's body, or what the one op without a form in linalg is written as."""
    op = op_of_loops(stages.fusion)
    if op is not None:
        return write_phases(stages.fusion, op, ConfigAttr(config), name)
    return write_loops(stages.fusion, config, name)


FAMILY = Family("loops", refusals, candidates, check, _takes, violations, write)
