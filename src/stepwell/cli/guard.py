"""How every command ends: an exit code and, for a failure, one clear message; a traceback only where it was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from stepwell.runtime.errors import InternalError, MemoryLimitError, StepwellError

INTERRUPTED = 130


def guarded(action: Callable[[], int], *, debug: bool = False) -> int:
    """The exit code of `action`: design section 2's for a StepwellError, 70 for anything that should not happen."""
    try:
        code = action()
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output went away: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        told = _as_stepwell_error(error)
        print(f"error: {told}", file=sys.stderr)
        return told.exit_code


def _as_stepwell_error(error: Exception) -> StepwellError:
    if isinstance(error, StepwellError):
        return error
    if isinstance(error, MemoryError):
        return MemoryLimitError("out of memory")
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return InternalError(
        f"unexpected {reason}", hint="this is our fault: run again with --debug and report what it prints"
    )
