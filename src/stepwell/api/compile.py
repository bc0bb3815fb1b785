"""The library: import, lower, interpret, compile, as functions of files, ONNX models and modules."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import tile
from stepwell.dialects.graph.plugin_record import used_plugins
from stepwell.dialects.weights import WeightSource, WeightStore, open_weights
from stepwell.driver.build import build_section
from stepwell.driver.driver import Driver, Observer
from stepwell.driver.execute import interpret as interpret_module
from stepwell.driver.lowering import lower_in_place
from stepwell.driver.modules import LoadedModule, keep_weights, read_model, read_network, read_onnx, weights_of
from stepwell.driver.pipeline import Pipeline
from stepwell.driver.pipeline import pipeline as default_pipeline
from stepwell.driver.signature import Array
from stepwell.frontends.doors import Request
from stepwell.frontends.events import ImportEvents
from stepwell.frontends.network import Network
from stepwell.frontends.shapes import Shapes
from stepwell.passes import StepwellContext
from stepwell.passes.levels import level_of, rank
from stepwell.passes.remarks import Remark
from stepwell.passes.target import choose_target, resolve, target_of, write_target
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import UsageError
from stepwell.runtime.plan_file import Plan, Section
from stepwell.types.targets import Target
from stepwell.version import __version__

if TYPE_CHECKING:
    import onnx

    from stepwell.runtime.engine import Engine

PACKAGES = ("numpy", "xdsl", "llvmlite", "onnx")


def import_model(
    model: str | Path | bytes | onnx.ModelProto | Network,
    weights: WeightSource | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Shapes | None = None,
    *,
    events: ImportEvents | None = None,
) -> ModuleOp:
    """The module of a model file (`.onnx`, `.prototxt`, `.pb`, `.pbtxt`, `.mlir`, `.plan`), of an ONNX model in memory, or of a Network. Its weights are kept with it.

    `weights`: where the model does not hold them (a `.caffemodel`, `.safetensors`, a WeightStore, "random:SEED"); `outputs`: names of tensors, in place of the
    model's own outputs; `shapes`: by input, where the model leaves dims open; `events` collects what the import does."""
    loaded = _load(model, Request(weights, outputs, shapes, events))
    return keep_weights(loaded.module, loaded.ctx.weights)


def lower(
    module: ModuleOp,
    to: str,
    *,
    target: str | None = None,
    precision: str = "model",
    pipeline: Pipeline | None = None,
    observers: Sequence[Observer] = (),
) -> ModuleOp:
    """A copy of `module` at level `to`. `target` may be left out where the module names it (below graph it must be known)."""
    ctx = _context_of(module)
    lowered = module.clone()
    if target is not None:
        choose_target(lowered, target)
    known = target_of(lowered)
    if known is None and rank(to) > 0:
        raise UsageError(f"level '{to}' needs a target", hint='lower(..., target="sm_90a") or target="cpu"')
    _check_pipeline(pipeline, precision)
    steps = _steps(pipeline, known.family, precision) if known else pipeline or default_pipeline("cpu", precision)
    driver = Driver(ctx, observers)
    with _rare_collections():
        lower_in_place(lowered, to, steps, driver)
    driver.finish(lowered)
    return keep_weights(lowered, ctx.weights)


def interpret(
    module: ModuleOp, inputs: Mapping[str, Array], *, weights: WeightSource | None = None
) -> dict[str, Array]:
    """Execute a module of any level on arrays, in NumPy (CUDA kernels on the simulator): outputs by name."""
    store = open_weights(weights) if weights is not None else weights_of(module)
    return interpret_module(module, inputs, weights=store)


def compile_plan(
    model: str | Path | bytes | onnx.ModelProto | Network | ModuleOp,
    weights: WeightSource | None = None,
    outputs: Sequence[str] | None = None,
    *,
    target: str | Sequence[str] = "auto",
    precision: str = "model",
    shapes: Shapes | None = None,
    pipeline: Pipeline | None = None,
    observers: Sequence[Observer] = (),
) -> Plan:
    """What `compile` compiles to, before it is loaded: building needs no device."""
    names = [target] if isinstance(target, str) else list(target)
    if not names:
        raise UsageError("there is no target", hint='target="cpu" or target=["cpu", "sm_90a"]')
    _check_pipeline(pipeline, precision)
    loaded = _load(model, Request(weights, outputs, shapes))
    targets = [_meant(name, loaded.module) for name in names]
    sections, pipelines, remarks, loops = [], {}, [], {}
    with _rare_collections():
        for name, found in zip(_section_names(targets), targets, strict=True):
            ctx = make_context(loaded.ctx.weights)
            steps = _steps(pipeline, found.family, precision)
            section, loops[name] = _section(name, loaded.module.clone(), found, ctx, steps, observers)
            sections.append(section)
            pipelines[name] = str(steps)
            remarks += [{"section": name, **_remark_entry(remark)} for remark in ctx.remarks]
    details = {
        "versions": _versions(),
        "pipelines": pipelines,
        "precision": pipeline.precision if pipeline else precision,
        "plugins": used_plugins(loaded.module),
        "loops": loops,
        "remarks": remarks,
    }
    return Plan(tuple(sections), details)


def compile(
    model: str | Path | bytes | onnx.ModelProto | Network | ModuleOp,
    weights: WeightSource | None = None,
    outputs: Sequence[str] | None = None,
    *,
    target: str | Sequence[str] = "auto",
    precision: str = "model",
    shapes: Shapes | None = None,
    pipeline: Pipeline | None = None,
    observers: Sequence[Observer] = (),
) -> Engine:
    """Compile a model for one target, or for several into one plan. The engine loads what fits this machine when it is first run; saving it
    needs no device.

    `model`: a path (.onnx, .prototxt, .pb, .pbtxt, .mlir, .plan), bytes or a ModelProto of ONNX, a Network, or a module of any level above llvm; `weights`: where the model
    does not hold them, a `.caffemodel` or `.safetensors` file, a WeightStore or "random:SEED"; `outputs`: names of tensors in place of the model's outputs; `target`: auto (what the module is lowered for, else the GPU
    here, else the CPU), cpu, cuda, sm_90a, x86-64-v3, x86-64-v4;
    `precision`: model, fp32, tf32, fp16, bf16; `shapes`: by input, where the model leaves dims open; `pipeline`: instead of the default.
    """
    from stepwell.runtime.engine import Engine

    plan = compile_plan(
        model,
        weights,
        outputs,
        target=target,
        precision=precision,
        shapes=shapes,
        pipeline=pipeline,
        observers=observers,
    )
    return Engine(plan, deferred=True)


def _check_pipeline(pipeline: Pipeline | None, precision: str) -> None:
    if pipeline is not None and precision not in ("model", pipeline.precision):
        raise UsageError(
            f"the pipeline that is given is for precision {pipeline.precision}, not {precision}",
            where="precision",
            hint=f'stepwell.pipeline(target, precision="{precision}")',
        )


def _steps(pipeline: Pipeline | None, family: str, precision: str) -> Pipeline:
    """The given pipeline, which must be for this family of targets, or the default one."""
    if pipeline is None:
        return default_pipeline(family, precision)
    if pipeline.family not in ("", family):
        raise UsageError(
            f"the pipeline that is given is for {pipeline.family}, not {family}",
            where="pipeline",
            hint=f'stepwell.pipeline("{family}")',
        )
    return pipeline


def _load(model: str | Path | bytes | onnx.ModelProto | Network | ModuleOp, request: Request) -> LoadedModule:
    if isinstance(model, ModuleOp):
        if request.shapes or request.outputs is not None:
            raise UsageError("shapes and outputs are for models of other frameworks; a module has its own")
        store = open_weights(request.weights) if request.weights is not None else weights_of(model)
        return LoadedModule(model, make_context(store))
    if isinstance(model, str | Path):
        return read_model(model, request)
    if isinstance(model, Network):
        return read_network(model, request)
    return read_onnx(model, request)


def _context_of(module: ModuleOp) -> StepwellContext:
    store: WeightStore | None = weights_of(module)
    return make_context(store)


def _section(
    name: str, module: ModuleOp, target: Target, ctx: StepwellContext, steps: Pipeline, observers: Sequence[Observer]
) -> tuple[Section, list[str]]:
    """The section, and the names of its kernels that are loops."""
    named = target_of(module)
    if rank(level_of(module)) > rank("graph") and named is not None and named != target:
        raise UsageError(f"the module is lowered for {named.name} already, not for {target.name}")
    write_target(module, target)
    driver = Driver(ctx, observers)
    if rank(level_of(module)) < rank("tile"):
        lower_in_place(module, "tile", steps, driver)
    loops = [op.sym_name.data for op in module.body.block.ops if isinstance(op, tile.LoopsKernel)]
    lower_in_place(module, "kernel", steps, driver)
    return build_section(name, module, target, ctx.weights, steps, driver), loops


def _meant(name: str, module: ModuleOp) -> Target:
    """The target that `name` means for `module`: if it is lowered already, auto is the one that it is lowered for, and cpu any CPU."""
    own = target_of(module) if rank(level_of(module)) > rank("graph") else None
    return own if own is not None and name in ("auto", own.name) else resolve(name)


def _section_names(targets: Sequence[Target]) -> list[str]:
    """`cpu`, `sm_90a`; several CPU levels are told apart: `cpu_v4`, `cpu_v3`."""
    if len(set(targets)) != len(targets):
        raise UsageError("a target is named twice", hint=", ".join(t.processor for t in targets))
    cpus = sum(t.family == "cpu" for t in targets)
    return [f"cpu_{t.processor.rpartition('-')[2]}" if t.family == "cpu" and cpus > 1 else t.name for t in targets]


def _remark_entry(remark: Remark) -> dict[str, Any]:
    return {
        "kind": remark.kind,
        "pass": remark.pass_name,
        "names": list(remark.names),
        "message": remark.message,
        "hint": remark.hint,
    }


def _versions() -> dict[str, str]:
    found = {"stepwell": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@contextmanager
def _rare_collections() -> Iterator[None]:
    """IR is many small objects that live long: with the default thresholds up to half of the time goes to the garbage collector."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
