"""Show what a plan file holds: sections, bindings, memory, kernels and launches, pipelines, remarks; or the IR of a section."""

from __future__ import annotations

import argparse
import json
import sys
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
    from stepwell.runtime.errors import UsageError
    from stepwell.runtime.plan_file import read_plan

    plan = read_plan(existing(args.plan))
    sections = [s for s in plan.sections if args.section in (None, s.name)]
    if not sections:
        names = ", ".join(s.name for s in plan.sections)
        raise UsageError(f"the plan has no section '{args.section}'", where=str(args.plan), hint=f"sections: {names}")
    if args.ir:
        sys.stdout.write("".join(section.module for section in sections))
    elif args.remarks:
        _print_remarks(plan.details, [s.name for s in sections])
    elif args.json:
        print(json.dumps({**plan.details, "sections": {s.name: dict(s.program) for s in sections}}, indent=1))
    else:
        _print_summary(plan.details, sections)
    return 0


def _print_summary(details: Any, sections: list[Any]) -> None:
    from stepwell.runtime.program_reader import read_program

    versions = details.get("versions", {})
    print("built with  " + ", ".join(f"{name} {number}" for name, number in versions.items()))
    for section in sections:
        program = read_program(section.program)
        code = ", ".join(f"{kind} {len(data):,} B" for kind, data in section.code.items())
        print(f"\nsection     {section.name} ({section.level or section.target})")
        print(f"pipeline    {details.get('pipelines', {}).get(section.name, 'unknown')}")
        for binding in program.bindings:
            kind = "input" if binding.is_input else "output"
            print(f"{kind:11} {binding.name}: {'x'.join(map(str, binding.shape))}x{binding.dtype}")
        print(f"memory      arena {program.arena:,} B, constants {program.constants:,} B; code {code}")
        print(f"kernels     {len(program.kernels)} in {len(program.launches)} launches")
        for index, launch in enumerate(program.launches):
            size = f"grid {launch.grid}" if section.target != "cpu" else f"{launch.tiles} tiles"
            print(f"  {index:3} {program.kernels[launch.kernel]:24} {size:18} {' + '.join(launch.names)}")


def _print_remarks(details: Any, sections: list[str]) -> None:
    for entry in details.get("remarks", ()):
        if entry.get("section") in sections:
            hint = f" (hint: {entry['hint']})" if entry.get("hint") else ""
            place = " + ".join(entry["names"]) or "module"
            print(f"{entry['section']}: [{entry['kind']}] {entry['pass']}: {place}: {entry['message']}{hint}")
