"""One side of a comparison: a function that runs it once and gives the milliseconds that it took."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Side = Callable[[], float]


def torch_side(torch: Any, call: Callable[[], Any]) -> tuple[Side, Any]:
    """A captured call: milliseconds of its replay, and its static output."""
    stream = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(stream):
        for _ in range(5):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        output = call()

    def timed() -> float:
        begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))

    return timed, output
