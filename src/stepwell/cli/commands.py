"""The `stepwell` command: picks the subcommand; each is a file of its own with `add_arguments` and `run`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from types import MappingProxyType

COMMANDS = MappingProxyType(
    {
        "compile": "compile a model to a plan file",
        "import": "import a model and say what was done",
        "run": "run a plan or a model on arrays",
        "inspect": "show what a plan or a model holds",
        "bench": "measure a plan",
        "ops": "show which operators run where",
    }
)
"""Command -> what it does. The file of a command is `<command>_command.py`."""


def run_command(words: Sequence[str]) -> int:
    """Parse `words`, run the command, return its exit code."""
    import stepwell

    parser = argparse.ArgumentParser(prog="stepwell", description="An inference compiler that can be read.")
    parser.add_argument("--version", action="version", version=f"stepwell {stepwell.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    for name, summary in COMMANDS.items():
        module = import_module(f"stepwell.cli.{name}_command")
        command = commands.add_parser(name, help=summary, description=module.__doc__)
        module.add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show Python tracebacks")
        command.set_defaults(run=module.run)
    args = parser.parse_args(words)
    code: int = args.run(args)
    return code
