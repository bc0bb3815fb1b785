"""What the demo shows of a level: a few lines of one convolution, whole tokens only."""

from __future__ import annotations

import re
import textwrap

BLOCK = "block/conv1"
NAME = re.compile(r'(@|")block_conv1\b')
"""How kernels and fusions are called after it."""
WIDTH = 96
LINES = 3
"""Lines of the page that one line of IR may take; what is behind them is left out, at a blank."""
SAYS = {
    "graph": "what the network computes",
    "linalg": "how each result is indexed and summed",
    "tile": "how a kernel goes over its tiles",
    "plan": "where values live and when kernels run",
    "kernel": "what threads and vectors do",
    "llvm": "what goes to LLVM",
}
OPS = {
    "graph": ("graph.conv", "graph.broadcast", "graph.binary", "graph.unary"),
    "linalg": ("linalg.generic", "arith.mulf", "arith.addf"),
    "tile": ("tile.for_tiles", "tile.for ", "tile.load %x", "tile.load %w", "tile.mma", "tile.store"),
    "plan": ("plan.slice", "plan.launch"),
    "kernel": ("hopper.tma_load_im2col", "hopper.wait %full", "hopper.wgmma ", "hopper.wgmma_wait", "hopper.arrive"),
    "llvm": ("mbarrier.try_wait", "wgmma.mma_async", "wgmma.wait_group"),
}
"""Level -> what is looked for on the way to sm_90a; the first line that holds it is shown."""


def excerpt(text: str, level: str) -> list[str]:
    """The lines to show of a module's text, wrapped and without types, in the order of the text."""
    lines = _around(text, level)
    found = {next((i for i, line in enumerate(lines) if op in line), -1) for op in OPS[level]}
    return [part for i in sorted(found - {-1}) for part in _shown(lines[i])]


def _around(text: str, level: str) -> list[str]:
    """The lines of the convolution's fusion, kernel or function; at the plan level the memory that its launch writes, and the launch."""
    lines = text.splitlines()
    if level == "plan":
        at = next(i for i, line in enumerate(lines) if "plan.launch" in line and NAME.search(line))
        result = lines[at].partition("outs(")[2].partition(")")[0]
        return [line for line in lines[:at] if line.strip().startswith(f"{result} = ")] + [lines[at]]
    start = next(i for i, line in enumerate(lines) if NAME.search(line) and "plan.launch" not in line)
    indent = len(lines[start]) - len(lines[start].lstrip())
    end = next(i for i, line in enumerate(lines) if i > start and line.startswith(" " * indent + "}"))
    return lines[start + 1 : end]


def _shown(line: str) -> list[str]:
    """A line of IR without its types, cut at blanks into lines of the page."""
    bare = re.split(r" : (?=[(!\w])| -> !| \{$", line.strip())[0]
    parts = textwrap.wrap(
        bare,
        WIDTH,
        initial_indent=" " * 8,
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return parts if len(parts) <= LINES else [*parts[: LINES - 1], f"{parts[LINES - 1]} ..."]
