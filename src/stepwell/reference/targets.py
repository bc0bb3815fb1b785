"""The page of targets: machines, levels, precisions, pipelines, outputs, limits and exit codes."""

from __future__ import annotations

from collections.abc import Iterator

from stepwell.dialects.tile import config
from stepwell.driver.pipeline import pipeline
from stepwell.driver.reproducers import FOLDER, VARIABLE
from stepwell.ir.source import DEEPEST, LARGEST_LITERAL
from stepwell.passes import REWRITE_LIMIT, REWRITES_EACH, REWRITES_PER_OP, SWEEP_LIMIT
from stepwell.passes.levels import ALLOWED
from stepwell.plugins.universe import UNIVERSE
from stepwell.reference.markdown import escape, first_sentence, page, table
from stepwell.runtime import errors
from stepwell.runtime.program import MAX_BYTES
from stepwell.transforms import pipelines
from stepwell.types.targets import CPU_LEVELS, SM_90A, TARGETS, Target


def target_page() -> str:
    """The page."""
    return page(
        "Targets and limits",
        "`cpu` is the level of this machine's CPU, `cuda` the GPU here, `auto` the GPU where there is one and else the CPU. Building needs no device.",
        table(["target", "machine"], ([f"`{name}`", _machine(target)] for name, target in TARGETS.items())),
        "## Precisions",
        "`model` keeps the element types of the model; tensor cores round the operands of f32 products to tf32.",
        table(["precision", "targets", "passes of its own"], _precisions()),
        "## Levels",
        "What a module of each level may hold: dialects, or single ops of one.",
        table(
            ["level", "holds"],
            ([level, ", ".join(f"`{name}`" for name in sorted(ALLOWED[level]))] for level in ALLOWED),
        ),
        "## Pipelines",
        *(_pipeline(family) for family in pipelines.FAMILIES),
        "## Outputs of stepwell-opt",
        table(
            ["`-t`", "prints"],
            (
                [f"`{name}`", first_sentence(make().__doc__ or "")]
                for name, make in sorted(UNIVERSE.all_targets.items())
            ),
        ),
        "## Limits",
        table(["limit", "value"], _limits()),
        "## Exit codes",
        "One error goes to standard error, beginning with `error: `; `--debug` shows the traceback too.",
        table(["code", "means"], [["0", "done"], *_exit_codes()]),
        f"A failure by our fault (70) leaves one file, whose path the error names: the module with a RUN line that fails again, or the words of the "
        f"command and the traceback. It goes to `{FOLDER}` in the working directory, or to the folder that the environment variable `{VARIABLE}` "
        f"or the option `--reproducer-dir` of `stepwell-opt` names. No command writes over a file that it reads, whatever "
        f"its name: that is a mistake of usage (2), as is an output that cannot be written.",
    )


def _machine(target: Target) -> str:
    if target.family == "cpu":
        rows, columns = target.block
        flags = ", ".join(sorted(target.cpu_flags))
        return f"{target.processor}: {target.vector_registers} vector registers of {target.vector_bytes} bytes, micro-kernel {rows} x {columns}; needs {flags}"
    return (
        f"{target.processor} (H100): {target.shared_bytes:,} bytes of shared memory, {target.registers:,} registers and "
        f"{target.max_threads} threads a block; {target.features.replace('+ptx', 'PTX ')}"
    )


def _precisions() -> Iterator[list[str]]:
    """How the pipeline of a precision differs from that of `model`, over both families."""
    for precision in pipelines.PRECISIONS:
        specs = [spec for family in _families(precision) for spec in pipeline(family, precision).specs]
        usual = {spec for family in pipelines.FAMILIES for spec in pipeline(family).specs}
        own = dict.fromkeys(f"`{spec}`" for spec in specs if spec not in usual)
        yield [precision, ", ".join(_families(precision)), ", ".join(own) or "the pipelines below"]


def _families(precision: str) -> list[str]:
    return [family for family in pipelines.FAMILIES if precision in pipelines.PRECISIONS_OF[family]]


def _pipeline(family: str) -> str:
    rows = [[stage.level, ", ".join(f"`{spec}`" for spec in stage.passes)] for stage in pipeline(family).stages]
    return f"`{family}`:\n\n{table(['to', 'passes'], rows)}"


def _limits() -> Iterator[list[str]]:
    yield [
        "shared memory of a block on sm_90a",
        f"{SM_90A.shared_bytes:,} bytes, {config.RING_ALIGNMENT:,} of them beside the ring",
    ]
    yield ["live register tiles of a thread on sm_90a", f"{config.REGISTERS_FOR_TILES} registers"]
    for level, machine in CPU_LEVELS.items():
        yield [f"live register tiles on {level}", f"{machine.vector_registers} vectors of {machine.vector_bytes} bytes"]
    yield [
        "rewrites of one pass made by `@rewrite`",
        f"{REWRITE_LIMIT:,} ({REWRITES_EACH} for each op, if that is more)",
    ]
    yield ["rewrites in a row from one op", f"{REWRITES_PER_OP:,} (the ops of the module, if that is more)"]
    yield ["walks of `@rewrite` over the module that each change it", f"{SWEEP_LIMIT}"]
    yield ["levels that regions, types and attributes of a text nest", f"{DEEPEST}"]
    yield ["elements of a dense literal in a text", f"{LARGEST_LITERAL:,}"]
    yield ["arena, constants or a binding of a plan", f"{MAX_BYTES:,} bytes"]


def _exit_codes() -> Iterator[list[str]]:
    found = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.StepwellError)
    ]
    for kind in sorted(found, key=lambda kind: kind.exit_code):
        if kind is not errors.StepwellError:
            yield [
                str(kind.exit_code),
                escape(" ".join((kind.__doc__ or "").split()).replace(f" (exit {kind.exit_code})", "").rstrip(".")),
            ]
