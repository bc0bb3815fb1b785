"""LLVM ends the process when memory runs out, so it is asked before whether there is enough."""

from __future__ import annotations

from stepwell.runtime.memory import check_memory

BYTES = 64 << 20
BYTES_PER_CHARACTER = 256
"""Making machine code of 44 kB and of 65 kB of text took 12 MB of address space each (LLVM 22, x86-64): this asks for more."""


def check_llvm_memory(text: str) -> None:
    """A MemoryLimitError where making code of `text` could run out of memory."""
    check_memory("LLVM", BYTES + BYTES_PER_CHARACTER * len(text))
