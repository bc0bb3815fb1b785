"""How every command ends: an exit code and, for a failure, one clear message; a traceback only where it was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from stepwell.runtime.errors import InternalError, MemoryLimitError, StepwellError, UsageError

INTERRUPTED = 130


def guarded(action: Callable[[], int], words: Sequence[str] = ()) -> int:
    """The exit code of `action`, a command called with `words`: design section 2's for a StepwellError, 70 for anything that should not
    happen, of which a report is left."""
    try:
        _check_streams()
        code = action()
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output went away: nothing is left to say
        _give_up_output()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if "--debug" in words:
            raise
        try:
            told = _as_stepwell_error(error, words)
        except (MemoryError, SystemError, ImportError):  # too little is left even to say how much
            told = MemoryLimitError("out of memory")
        _give_up_output()
        _say(f"error: {told}")
        return told.exit_code


def _check_streams() -> None:
    """Names that the terminal cannot show are escaped. Without standard output nothing is begun; Python has None for closed streams."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open as long as the process lives
    if sys.stdout is None:
        raise UsageError("standard output is closed", hint="> /dev/null if it is not wanted")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _give_up_output() -> None:
    """Let what could not be written to standard output be forgotten, so that the interpreter's end does not fail at it again."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody can be told
        return


def _as_stepwell_error(error: Exception, words: Sequence[str]) -> StepwellError:
    from stepwell.runtime.memory import from_exception

    if isinstance(error, StepwellError):
        return error
    if short := from_exception(error, "the command"):
        return short
    if isinstance(error, OSError):
        return UsageError(
            f"cannot read or write: {error.strerror or error}", where=str(error.filename or "standard output")
        )
    from stepwell.driver.reproducers import FAULT, write_report

    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    path = write_report(error, words)
    return InternalError(f"unexpected {reason}", hint=f"report: {path} ({FAULT})")
