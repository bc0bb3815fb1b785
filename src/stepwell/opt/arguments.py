"""The options that `stepwell-opt` has beside xDSL's."""

from __future__ import annotations

import argparse

from stepwell.passes.levels import LEVELS
from stepwell.transforms.pipelines import PRECISIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options, in groups."""
    _add_input(parser.add_argument_group("input"))
    _add_pipeline(parser.add_argument_group("pipeline"))
    _add_reports(parser.add_argument_group("reports (on standard error unless they name a file)"))
    _add_questions(parser.add_argument_group("questions (answered without an input file)"))


def _add_input(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--shape", action="append", default=[], metavar="NAME:1x2x3", help="shape of a network input")
    group.add_argument("--outputs", metavar="NAME,..", help="tensors to compute, in place of the model's outputs")
    group.add_argument("--weights", metavar="FILE|random:SEED", help="weights, where the model does not name them")
    group.add_argument("--weights-out", metavar="FILE.safetensors", help="also write the weights that the module names")
    group.add_argument("--plugin", action="append", default=[], metavar="MODULE|FILE.py", help="import a plugin")
    group.add_argument("--level", choices=LEVELS, help="check that the input is at this level")


def _add_pipeline(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--from", dest="from_level", choices=LEVELS, help="level of the input (default: as it says)")
    group.add_argument("--to", dest="to_level", choices=LEVELS, help="lower to this level, after -p")
    group.add_argument("--arch", metavar="TARGET", help="sm_90a, cpu, x86-64-v4, x86-64-v3, cuda, auto")
    group.add_argument("--precision", choices=PRECISIONS, default="model", help="precision for --to")
    group.add_argument("--check-semantics", action="store_true", help="execute the module before and after each pass")
    group.add_argument(
        "--reproducer-dir",
        metavar="DIR",
        help="where a failure by our fault leaves its reproducer (default: $STEPWELL_REPRODUCERS, else stepwell-reproducers)",
    )
    group.add_argument("--debug", action="store_true", help="show Python tracebacks")


def _add_reports(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--print-ir-after-change", action="store_true", help="print the IR after each pass that changes it"
    )
    group.add_argument(
        "--print-ir-tree-dir", metavar="DIR", help="write the IR after each pass there, with an index.json"
    )
    group.add_argument(
        "--print-candidates",
        action="store_true",
        help="print the schedules that each fusion may have, with --to linalg, in place of the module",
    )
    group.add_argument("--remarks-filter", metavar="REGEX", help="print the remarks of the passes that match")
    group.add_argument(
        "--remark-format", choices=("text", "yaml", "json"), default="text", help="how remarks are printed"
    )
    group.add_argument("--remarks-output-file", metavar="FILE", help="write remarks there")


def _add_questions(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--print-pipeline", action="store_true", help="print the pipeline as a -p string")
    group.add_argument("--list-passes", action="store_true", help="print every pass")
    group.add_argument("--help-pass", metavar="NAME", help="print what a pass does and its options")
