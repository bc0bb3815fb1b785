"""Answers about passes: the list, and the page of one."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from xdsl.passes import ModulePass, get_pass_option_infos

from stepwell.passes import StepwellPass
from stepwell.plugins import installed_plugins, plugin_of_pass
from stepwell.plugins.universe import find_pass, pass_modules
from stepwell.runtime.errors import UsageError


def summary(pass_class: type[ModulePass]) -> str:
    """The first sentence of the pass's documentation."""
    paragraph = " ".join(_documentation(pass_class).partition("\n\n")[0].split())
    sentence, dot, _ = paragraph.partition(". ")
    return sentence + dot.strip()


def _documentation(pass_class: type[ModulePass]) -> str:
    own = pass_class.__doc__ or ""
    return "" if own.startswith(f"{pass_class.__name__}(") else inspect.cleandoc(own)


def list_passes(names: Iterable[str]) -> str:
    """One line a pass: ours and those of plugins with level, meaning and summary, then xDSL's by name."""
    ours = list(pass_modules())
    lines = [_line(name) for name in sorted(ours)]
    listed = set(ours)
    for plugin in installed_plugins():
        theirs = sorted(plugin.universe.all_passes)
        listed |= set(theirs)
        lines += ["", f"from {plugin}:", *map(_line, theirs)] if theirs else []
    others = sorted(set(names) - listed)
    return "\n".join([*lines, "", "from xDSL:", *(f"  {name}" for name in others)]) + "\n"


def _line(name: str) -> str:
    try:
        pass_class = find_pass(name)
    except UsageError as error:  # a plugin whose list of passes loads, and the pass does not
        return f"{name:36} [?] {error.message}"
    kind = f"{pass_class.level}, {pass_class.meaning}" if issubclass(pass_class, StepwellPass) else "?"
    return f"{name:36} [{kind}] {summary(pass_class)}".rstrip()


def help_pass(name: str) -> str:
    """Everything there is to say of one pass."""
    pass_class = find_pass(name)
    plugin = plugin_of_pass(name)
    lines = [name]
    if issubclass(pass_class, StepwellPass):
        bound = f" (rtol {pass_class.rtol:g})" if pass_class.rtol else ""
        lines.append(f"  level: {pass_class.level}\n  meaning: {pass_class.meaning}{bound}")
    if plugin is not None:
        lines.append(f"  from: {plugin}")
    for option in get_pass_option_infos(pass_class):
        default = f", default {option.default_value}" if option.default_value is not None else ", required"
        lines.append(f"  option {option.name.replace('_', '-')}: {option.expected_type}{default}")
    page = inspect.getdoc(inspect.getmodule(pass_class)) if plugin is not None or name in pass_modules() else ""
    texts = dict.fromkeys(text for text in (_documentation(pass_class), page or "") if text)
    return "\n".join([*lines, "", *texts]) + "\n"
