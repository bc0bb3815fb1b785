"""KeyboardInterrupt at a chosen step of a piece of work: what Ctrl-C does, at every place where it can."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

STEP = "opcode" if sys.version_info < (3, 12) else "line"
"""What is one step: from Python 3.12 on a frame that is being entered cannot ask for its bytecodes."""

LOOKS = ("RESUME", "CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD")
"""The bytecodes of Python 3.11 at whose end it looks for signals. Between others no handler runs: not between taking a lock by `with` and
its block, nor between the block and giving it back."""


def interrupted(act: Callable[[], object], step: int) -> bool:
    """Whether `act` ended before its step number `step`, where KeyboardInterrupt is raised."""
    left = step

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        if "stepwell" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = STEP == "opcode", STEP == "line"
        before = LOOKS[0]

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal left, before
            if event == STEP:
                left -= STEP == "line" or before in LOOKS
                before = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if event == STEP and left == 0:
                raise KeyboardInterrupt
            return trace

        return trace

    previous = sys.gettrace()
    sys.settrace(enter)
    try:
        act()
    except KeyboardInterrupt:
        return False
    finally:
        sys.settrace(previous)
    return True
