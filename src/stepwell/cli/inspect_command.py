"""Show what a plan file holds: sections, bindings, memory, kernels and launches, pipelines, remarks; or the IR of a section."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell inspect`."""
    parser.add_argument("plan", type=Path)
    parser.add_argument("--section", help="only this section")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--ir", action="store_true", help="print the module of the section")
    what.add_argument("--remarks", action="store_true", help="print what the passes said")
    what.add_argument("--json", action="store_true", help="print everything but IR, code and constants as JSON")


def run(args: argparse.Namespace) -> int:
    """Read the plan (nothing is loaded or executed) and print."""
    from stepwell.cli.arrays import existing
    from stepwell.runtime.errors import PlanError, UsageError
    from stepwell.runtime.plan_file import read_plan

    plan = read_plan(existing(args.plan))
    sections = [s for s in plan.sections if args.section in (None, s.name)]
    if not sections:
        names = ", ".join(s.name for s in plan.sections)
        raise UsageError(f"the plan has no section '{args.section}'", where=str(args.plan), hint=f"sections: {names}")
    try:
        text = _text(args, plan.details, sections)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # what the builder tells is checked nowhere else
        reason = f"is damaged: its manifest tells what cannot be shown ({type(error).__name__}: {error})"
        raise PlanError(reason, where=str(args.plan), hint="compile the plan again") from error
    sys.stdout.write(text)
    return 0


def _text(args: argparse.Namespace, details: Any, sections: list[Any]) -> str:
    if args.ir:
        return "".join(section.module for section in sections)
    if args.remarks:
        return "".join(f"{line}\n" for line in _remarks(details, [s.name for s in sections]))
    if args.json:
        return json.dumps({**details, "sections": {s.name: dict(s.program) for s in sections}}, indent=1) + "\n"
    return "".join(f"{line}\n" for line in _summary(details, sections))


def _summary(details: Any, sections: list[Any]) -> Iterator[str]:
    from stepwell.runtime.program_reader import read_program

    versions = details.get("versions", {})
    yield "built with  " + ", ".join(f"{name} {number}" for name, number in versions.items())
    for entry in details.get("plugins", ()):
        parameters = ", ".join(f"{name} = {value!r}" for name, value in entry["parameters"].items())
        place = f"{entry['namespace']}::" if entry["namespace"] else ""
        yield f"plugin      {entry['node']}: {place}{entry['plugin']} {entry['version']} ({parameters})"
    for section in sections:
        program = read_program(section.program)
        code = ", ".join(f"{kind} {len(data):,} B" for kind, data in section.code.items())
        yield f"\nsection     {section.name} ({section.level or section.target})"
        yield f"pipeline    {details.get('pipelines', {}).get(section.name, 'unknown')}"
        for binding in program.bindings:
            kind = "input" if binding.is_input else "output"
            yield f"{kind:11} {binding.name}: {'x'.join(map(str, binding.shape))}x{binding.dtype}"
        yield f"memory      arena {program.arena:,} B, constants {program.constants:,} B; code {code}"
        loops = details.get("loops", {}).get(section.name, [])
        yield f"kernels     {len(program.kernels)} in {len(program.launches)} launches{f', {len(loops)} by loops' if loops else ''}"
        for index, launch in enumerate(program.launches):
            size = f"grid {launch.grid}" if section.target != "cpu" else f"{launch.tiles} tiles"
            kernel = program.kernels[launch.kernel]
            form = " (loops)" if kernel in loops else ""
            yield f"  {index:3} {kernel:24} {size:18} {' + '.join(launch.names)}{form}"


def _remarks(details: Any, sections: list[str]) -> Iterator[str]:
    for entry in details.get("remarks", ()):
        if entry.get("section") in sections:
            hint = f" (hint: {entry['hint']})" if entry.get("hint") else ""
            place = " + ".join(entry["names"]) or "module"
            yield f"{entry['section']}: [{entry['kind']}] {entry['pass']}: {place}: {entry['message']}{hint}"
