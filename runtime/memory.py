"""How much memory this process may still take, and the error for what does not fit: needed and available bytes."""

from __future__ import annotations

import errno
import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stepwell.runtime.errors import MemoryLimitError

_SHORT = ("failed to map segment", "annot allocate memory", "can't start new thread")
"""What loaders and `threading` say (glibc's ld.so, CPython) where memory is short."""
HINT = "free memory, raise the limit (ulimit -v, the container's), or use a smaller batch"


def available_bytes(root: Path = Path("/")) -> int | None:
    """The least of what the machine has (`MemAvailable`), the process's address space (RLIMIT_AS) and its control group leave; None where the
    system does not tell. `root` is where `proc` and `sys` lie."""
    left = [_machine(root), _address_space(root), _control_group(root)]
    known = [value for value in left if value is not None]
    return max(0, min(known)) if known else None


def _machine(root: Path) -> int | None:
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _address_space(root: Path) -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _text(root / "proc/self/statm").split()
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return limit - int(pages[0]) * resource.getpagesize()


def _control_group(root: Path) -> int | None:
    """What version 2 or 1 of the kernel's memory controller leaves, read where a container sees its own group."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        folder = root / "sys/fs/cgroup"
        cap, taken = _text(folder / limit).strip(), _text(folder / used).strip()
        if cap.isdecimal() and taken.isdecimal():
            return int(cap) - int(taken)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def out_of_memory(what: str, needed: int | None = None) -> MemoryLimitError:
    """The error (exit 5) for `what`, which takes `needed` bytes."""
    left = available_bytes()
    takes = f"{what} needs {needed:,} bytes of memory" if needed is not None else f"{what}: out of memory"
    return MemoryLimitError(f"{takes}, {'unknown' if left is None else f'{left:,}'} bytes are available", hint=HINT)


def from_exception(error: BaseException, what: str) -> MemoryLimitError | None:
    """The error for an exception that says that memory is short: MemoryError (NumPy's says how much it wanted), ENOMEM, a library that cannot be
    mapped, a thread that cannot start; None for others."""
    if isinstance(error, MemoryError):
        shape, dtype = getattr(error, "shape", None), getattr(error, "dtype", None)
        if isinstance(shape, tuple) and isinstance(dtype, np.dtype):
            return out_of_memory(what, math.prod(shape) * dtype.itemsize)
        return out_of_memory(what)
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return out_of_memory(what)
    if any(words in str(reason) for reason in _chain(error) for words in _SHORT):
        return out_of_memory(what)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The loader's errors that led to `error`: packages wrap them."""
    reason: BaseException | None = error
    while isinstance(reason, OSError | ImportError | RuntimeError):
        yield reason
        reason = reason.__cause__ or reason.__context__


def check_memory(what: str, needed: int) -> None:
    """Refuse at once what does not fit into what is available."""
    left = available_bytes()
    if left is not None and needed > left:
        raise out_of_memory(what, needed)


@contextmanager
def memory_for(what: str, needed: int) -> Iterator[None]:
    """Refuse at once what does not fit into what is available, and say the same of what runs out of memory inside the block."""
    check_memory(what, needed)
    try:
        yield
    except MemoryError as error:
        raise out_of_memory(what, needed) from error
