"""The commands: `stepwell` and `stepwell-opt`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from stepwell.cli.guard import guarded


def opt_main(argv: Sequence[str] | None = None) -> int:
    """`stepwell-opt`."""
    words = list(sys.argv[1:] if argv is None else argv)

    def action() -> int:
        from stepwell.opt.main import StepwellOpt

        return StepwellOpt(words).run()

    return guarded(action, words)


def main(argv: Sequence[str] | None = None) -> int:
    """`stepwell`."""
    words = list(sys.argv[1:] if argv is None else argv)

    def action() -> int:
        from stepwell.cli.commands import run_command

        return run_command(words)

    return guarded(action, words)
