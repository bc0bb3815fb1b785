"""A lock that a child process does not inherit locked."""

from __future__ import annotations

import os
import threading


class ProcessLock:
    """One lock for each process: a thread that held it at a fork does not exist in the child, which begins with a free one."""

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def here(self) -> threading.Lock:
        """The lock of this process; `with` on it is safe from Ctrl-C, as no Python code runs between taking it and the block."""
        return self._locks.setdefault(os.getpid(), threading.Lock())
