"""The page of all passes, by level, in the order of the pipelines."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

from xdsl.passes import ModulePass, get_pass_option_infos

from stepwell.driver.driver import parse_specs
from stepwell.driver.pipeline import pipeline
from stepwell.opt.listing import summary
from stepwell.passes import StepwellPass
from stepwell.plugins.universe import find_pass, pass_modules
from stepwell.reference.markdown import document, escape, page, table, told
from stepwell.transforms.pipelines import FAMILIES, PRECISIONS_OF

INTRODUCTION = """A pass runs on modules of its level. Its *meaning* is what it may do to results, and what `--check-semantics` and
`check_pass` hold it to: `exact` (bit-identical), `reassociates` (a sum in another order), `rounds` (within a tolerance), `changes` (the network computes
something else). `stepwell-opt --help-pass NAME` prints a section of this page; options are given as `-p 'name{option=value}'`."""


def pass_page() -> str:
    """The page."""
    names = _in_order()
    rows = [
        [f"[{name}](#{name})", _ours(name).level, _ours(name).meaning, escape(summary(find_pass(name)))]
        for name in names
    ]
    contents = table(["pass", "level", "meaning", ""], rows)
    return page("Passes", INTRODUCTION, contents, *map(_section, names))


def _in_order() -> list[str]:
    """All passes: those of the pipelines as they run, then the others of each level."""
    steps = [spec.name for f in FAMILIES for p in PRECISIONS_OF[f] for spec in parse_specs(str(pipeline(f, p)))]
    known = pass_modules()
    levels = list(dict.fromkeys(_ours(name).level for name in steps if name in known))
    every = [name for name in dict.fromkeys([*steps, *known]) if name in known]
    return sorted(
        every, key=lambda name: levels.index(_ours(name).level) if _ours(name).level in levels else len(levels)
    )


def _ours(name: str) -> type[StepwellPass]:
    found = find_pass(name)
    assert issubclass(found, StepwellPass), name
    return found


def _section(name: str) -> str:
    pass_class = _ours(name)
    bound = f" within {pass_class.rtol:g} of the largest result" if pass_class.rtol else ""
    facts = f"Level {pass_class.level}; meaning `{pass_class.meaning}`{bound}."
    twice = "" if pass_class.idempotent else " A second application may change the module again."
    file = pass_modules()[name].removeprefix("stepwell.").replace(".", "/") + ".py"
    return "\n\n".join(
        part
        for part in (
            f"## {name}",
            facts + twice + f" Source: `{file}`.",
            document(told(inspect.getdoc(inspect.getmodule(pass_class)) or "", name)),
            _own(pass_class),
            table(["option", "type", "default"], _options(pass_class)),
        )
        if part
    )


def _own(pass_class: type[StepwellPass]) -> str:
    """The class's docstring, unless it is what `dataclass` makes up."""
    text = pass_class.__doc__ or ""
    return (
        "" if text.startswith(f"{pass_class.__name__}(") else re.sub(r" See the file's head[^.]*\.", "", document(text))
    )


def _options(pass_class: type[ModulePass]) -> Iterable[tuple[str, str, str]]:
    for option in get_pass_option_infos(pass_class):
        default = "required" if option.default_value is None else f"`{option.default_value}`"
        yield f"`{option.name.replace('_', '-')}`", f"`{option.expected_type}`", default
