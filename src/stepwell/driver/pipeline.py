"""A pipeline as a value: stages of pass specs from one level to the next, printed as a `-p` string, changed by insert and drop."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stepwell.driver.driver import parse_specs, passes_of
from stepwell.passes.levels import LEVELS, rank
from stepwell.passes.target import resolve
from stepwell.runtime.errors import UsageError
from stepwell.transforms import pipelines


@dataclass(frozen=True)
class Stage:
    """The passes that bring a module to `level`."""

    level: str
    passes: tuple[str, ...]


@dataclass(frozen=True)
class Pipeline:
    """Stages in the ladder's order, for one precision and family of targets (none: for any). `str` of it is what `stepwell-opt -p` takes."""

    stages: tuple[Stage, ...]
    precision: str = "model"
    family: str = ""

    def __str__(self) -> str:
        return ",".join(self.specs)

    @property
    def specs(self) -> tuple[str, ...]:
        """All pass specs in order."""
        return tuple(spec for stage in self.stages for spec in stage.passes)

    @property
    def before_lowering(self) -> tuple[str, ...]:
        """The passes of the graph stage up to the last one that was inserted: they may still rewrite what no lowering takes. None by default."""
        usual = {_name(spec) for spec in (*pipelines.GRAPH, *pipelines.PRECISION[self.precision])}
        specs = [spec for stage in self.stages if stage.level == "graph" for spec in stage.passes]
        while specs and _name(specs[-1]) in usual:
            specs.pop()
        return tuple(specs)

    def between(self, start: str, end: str) -> Pipeline:
        """The stages that take a module of level `start` to level `end`. The graph stage, which stays on its level, belongs to every
        pipeline that starts at graph and goes below it; to ask for graph from graph is to ask for that stage."""
        first, last = rank(start), rank(end)
        if last < first:
            raise UsageError(f"cannot go up from '{start}' to '{end}'", hint=f"levels: {' > '.join(LEVELS)}")
        if first == 0:
            return replace(self, stages=tuple(stage for stage in self.stages if rank(stage.level) <= last))
        return replace(self, stages=tuple(stage for stage in self.stages if first < rank(stage.level) <= last))

    def insert(self, spec: str, *, after: str | None = None, before: str | None = None) -> Pipeline:
        """A copy with `spec` after (or before) the pass of that name."""
        if (after is None) == (before is None):
            raise UsageError("insert needs one of after= and before=", where=spec)
        passes_of(spec)
        anchor = after or before or ""
        stages = []
        for stage in self._holding(anchor):
            passes: list[str] = []
            for known in stage.passes:
                here = _name(known) == anchor
                passes += [spec] if here and before else []
                passes.append(known)
                passes += [spec] if here and after else []
            stages.append(replace(stage, passes=tuple(passes)))
        return replace(self, stages=tuple(stages))

    def drop(self, name: str) -> Pipeline:
        """A copy without the pass of that name."""
        kept = [
            replace(stage, passes=tuple(spec for spec in stage.passes if _name(spec) != name))
            for stage in self._holding(name)
        ]
        return replace(self, stages=tuple(kept))

    def _holding(self, name: str) -> tuple[Stage, ...]:
        if name not in map(_name, self.specs):
            raise UsageError(f"the pipeline has no pass '{name}'", hint=f"it is {self}")
        return self.stages


def _name(spec: str) -> str:
    return parse_specs(spec)[0].name


def pipeline(target: str = "cpu", precision: str = "model") -> Pipeline:
    """The pipeline that `compile` uses for `target` and `precision`.

    >>> "graph-fuse-epilogue" in str(pipeline("sm_90a"))
    True
    """
    if precision not in pipelines.PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'", hint=f"precisions: {', '.join(pipelines.PRECISIONS)}")
    family = target if target in pipelines.FAMILIES else resolve(target).family
    if precision not in pipelines.PRECISIONS_OF[family]:
        raise UsageError(
            f"precision {precision} means nothing on target {target}",
            where="precision",
            hint=f"precisions there: {', '.join(pipelines.PRECISIONS_OF[family])}",
        )
    made = tuple(Stage(level, tuple(specs)) for level, specs in pipelines.stages(family, precision))
    return Pipeline(made, precision, family)
