"""The graphs of the corpora that TensorFlow computed references for."""

from __future__ import annotations

from functools import partial

from stepwell.testing.conformance.case import Check, Outcome
from stepwell.testing.conformance.run import Make
from stepwell.testing.corpora import absent, corpora, manifest
from stepwell.testing.tensorflow_graphs import run_graph


def flat(name: str) -> str:
    """A path as the name of a case: in those of the sweep slashes divide what varies."""
    return name.replace("/", ":")


def tensorflow_graphs() -> dict[str, Make]:
    """Name -> check."""
    if absent():
        return {}
    entries = manifest("tf_graphs").items()
    return {
        flat(name): partial(Check, flat(name), partial(_run_graph, name, entry["outputs"])) for name, entry in entries
    }


def _run_graph(name: str, outputs: list[str]) -> Outcome:
    return run_graph(corpora() / "tf_graphs" / name / "graph.pb", outputs)


def graphs_without_inputs() -> dict[str, str]:
    """Those graphs that compute a constant, which are counted for themselves."""
    entries = {} if absent() else manifest("tf_graphs")
    return {flat(name): "without inputs" for name, entry in entries.items() if not entry["inputs"]}
