"""The suites by name: their cases, on what each runs, how it is cut into batches, and the part of each that `make test` runs.

A new suite is an entry in `SUITES`: a function that gives its cases by name. A case is a `Case` (an ONNX model with what it should give, for every
executor) or a `Check` (a function that a child calls and that gives the outcome). `python -m stepwell.testing.conformance NAME --update` writes its record.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stepwell.testing import corpora
from stepwell.testing.conformance import corpus_definitions, record
from stepwell.testing.conformance.backend_models import light_tests, stored_tests
from stepwell.testing.conformance.case import Outcome
from stepwell.testing.conformance.corpus_graphs import graphs_without_inputs, tensorflow_graphs
from stepwell.testing.conformance.corpus_models import corpus_models
from stepwell.testing.conformance.node_tests import node_tests, without_tensors
from stepwell.testing.conformance.run import Make
from stepwell.testing.conformance.sweep import sweep_cases


def nothing() -> dict[str, str]:
    """No case stands apart."""
    return {}


def no_reason() -> str:
    """Every machine has what the suite needs."""
    return ""


@dataclass(frozen=True)
class Suite:
    """`cases` of an executor; `executors`: those that the suite is recorded for; `group`: names with the same group may be compiled together, at most
    `together` of them; `apart`: names of cases that are counted for themselves, and as what; `absent`: why the suite cannot be run here."""

    title: str
    cases: Callable[[str], Mapping[str, Make]]
    executors: Sequence[str] = ("graph",)
    group: Callable[[str], str] = str
    together: int = 1
    apart: Callable[[], Mapping[str, str]] = nothing
    absent: Callable[[], str] = no_reason

    def batches(self, names: list[str], known: Mapping[str, Outcome]) -> list[list[str]]:
        """What is known to be right all together, what nobody has run by groups, everything else alone: a batch in which a case fails has to be split."""
        groups: dict[str, list[str]] = {}
        for name in names:
            status = known[name].status if name in known else ""
            groups.setdefault({"right": "", "": self.group(name)}.get(status, name), []).append(name)
        n = self.together
        return [group[i : i + n] for group in groups.values() for i in range(0, len(group), n)]


def kin(name: str) -> str:
    """Sweep cases that most likely end alike: one operator and form, and floats, integers or booleans."""
    op, form, type, _ = name.split("/")
    return f"{op}/{form}/{type.strip('0123456789')}"


def _of_any(cases: Callable[[], Mapping[str, Make]]) -> Callable[[str], Mapping[str, Make]]:
    """Cases that are the same for every executor."""
    return lambda executor: cases()


SUITES: Mapping[str, Suite] = {
    "nodes": Suite("ONNX node tests", _of_any(node_tests), ("graph", "x86-64-v4", "sm_90a"), apart=without_tensors),
    "converted": Suite("networks that PyTorch exported", _of_any(partial(stored_tests, "converted"))),
    "operator": Suite("operators that PyTorch exported", _of_any(partial(stored_tests, "operator"))),
    "simple": Suite("ONNX simple models", _of_any(partial(stored_tests, "simple"))),
    "light": Suite("topologies of known networks", _of_any(light_tests)),
    "models": Suite("trained networks", _of_any(corpus_models), absent=corpora.absent),
    "tf_graphs": Suite(
        "TensorFlow graphs", _of_any(tensorflow_graphs), apart=graphs_without_inputs, absent=corpora.absent
    ),
    "caffe_definitions": Suite(
        "Caffe definitions", _of_any(corpus_definitions.caffe_definitions), absent=corpus_definitions.absent
    ),
    "sweep": Suite("operator sweep", sweep_cases, ("x86-64-v4", "x86-64-v3", "sm_90a", "graph"), kin, together=24),
}
"""In the order in which they run."""


def recorded(path: Path, cases: Mapping[str, Make]) -> dict[str, Outcome]:
    """What the record at `path` holds."""
    return record.read(path.read_text(), cases)


def sample(names: list[str], share: int, salt: str = "") -> list[str]:
    """About one name in `share`, always the same ones."""
    return [name for name in names if zlib.crc32(f"{salt}{name}".encode()) % share == 0]
