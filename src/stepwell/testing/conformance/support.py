"""Which operator of which door runs where, as it was seen: `python -m stepwell.testing.conformance.support` writes `stepwell/api/support.txt`.

The cases are those that the records of the suites hold as right: ONNX's node tests and the operator sweep, TensorFlow's graphs, Caffe's definitions; the project's own tests of the
doors; and every layer of the network API. For ONNX the records say what ran on a target too; for the other doors the lowering is asked whether it takes all ops that an operator became.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

import stepwell
from stepwell.api.support import Seen, short, written
from stepwell.dialects.graph import ConstantOp, WeightOp
from stepwell.dialects.graph.interpreter import main_function
from stepwell.driver.files import write_whole
from stepwell.driver.signature import signature_of
from stepwell.frontends.events import ImportEvents
from stepwell.ir.locations import names_of
from stepwell.runtime.errors import StepwellError
from stepwell.testing import corpora
from stepwell.testing.conformance import record
from stepwell.testing.conformance.case import Outcome
from stepwell.testing.conformance.corpus_definitions import import_definition
from stepwell.testing.conformance.corpus_graphs import flat
from stepwell.testing.conformance.network_layers import networks
from stepwell.testing.conformance.node_tests import node_tests
from stepwell.testing.conformance.own_tests import imports_of_tests
from stepwell.testing.conformance.suites import SUITES
from stepwell.testing.conformance.sweep import sweep_cases
from stepwell.testing.tensorflow_graphs import import_graph
from stepwell.transforms.graph._values import live_ops
from stepwell.transforms.legality import refused_ops

T = TypeVar("T")
RUNNERS = {"graph": "graph", "x86-64-v4": "cpu", "x86-64-v3": "cpu", "sm_90a": "sm_90a"}
"""Executors of the suites -> columns of the table."""
TARGETS = ("cpu", "sm_90a")
WITHOUT_OPS = {"tensorflow": ("Const", "Identity", "IdentityN"), "caffe": ("Split", "Dropout", "Parameter")}
"""Operators that hand on what they get or hold: they may leave no op behind, and run wherever the others do."""
_ELEMENT = re.compile(r"tensor<(?:[^,>]*x)?([a-zA-Z]\w*)")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file; 2 where the corpora are not here."""
    parser = argparse.ArgumentParser(prog="python -m stepwell.testing.conformance.support", description=__doc__)
    parser.add_argument("--records", type=Path, default=Path("tests/conformance"))
    parser.add_argument("--file", type=Path, default=Path("src/stepwell/api/support.txt"))
    args = parser.parse_args(argv)
    if corpora.absent():
        print(corpora.absent(), file=sys.stderr)
        return 2
    found = [
        *tests_support(args.records.parent),
        *onnx_support(args.records),
        *tensorflow_support(args.records),
        *caffe_support(args.records),
        *network_support(),
    ]
    write_whole(args.file, written(found))
    print(f"{args.file}: {len({(seen.door, seen.operator) for seen in found})} operators")
    return 0


def right(records: Path, suite: str, executor: str) -> list[str]:
    """The cases of a suite that its record holds as right; none where there is no record."""
    path = record.record_path(records, suite, executor)
    if not path.exists():
        return []
    text = path.read_text()
    listed = [word for line in text.splitlines() if not line.startswith("#") for word in line.split()]
    outcomes = record.read(text, sweep_cases(executor) if suite == "sweep" else listed)
    return [name for name, outcome in outcomes.items() if outcome == Outcome("right")]


def onnx_support(records: Path, share: int = 1) -> Iterator[Seen]:
    """From the operator sweep and the node tests, of which one in `share` is looked at."""
    for executor, runner in RUNNERS.items():
        for name in right(records, "sweep", executor):
            operator, _, element, _ = name.split("/")
            yield Seen("onnx", operator, short(element), runner)
    tests = node_tests()
    runners = {executor: set(right(records, "nodes", executor)) for executor in SUITES["nodes"].executors}
    for name in sorted(runners["graph"])[::share]:
        model, events = tests[name]().model, ImportEvents()
        if _import(name, partial(stepwell.import_model, model, events=events)) is None:
            continue
        here = [RUNNERS[executor] for executor, names in runners.items() if name in names]
        for _, operator, element in _nodes(events):
            yield from (Seen("onnx", operator, element, runner) for runner in here)


def tensorflow_support(records: Path, share: int = 1) -> Iterator[Seen]:
    """From the graphs of the corpora."""
    entries = {flat(name): (name, entry["outputs"]) for name, entry in corpora.manifest("tf_graphs").items()}
    for case in right(records, "tf_graphs", "graph")[::share]:
        name, outputs = entries[case]
        path, events = corpora.corpora() / "tf_graphs" / name / "graph.pb", ImportEvents()
        inputs, _ = corpora.references(path.parent)
        shapes = {key: array.shape for key, array in inputs.items()}
        module = _import(case, partial(import_graph, path, outputs, shapes, events))
        if module is not None:
            yield from _seen("tensorflow", module, events)


def caffe_support(records: Path, share: int = 1) -> Iterator[Seen]:
    """From the definitions of the corpora."""
    for case in right(records, "caffe_definitions", "graph")[::share]:
        events = ImportEvents()
        path = corpora.corpora() / "caffe_definitions" / case.replace(":", "/")
        found = _import(case, partial(import_definition, path, events))
        if found is not None:
            yield from _seen("caffe", found[2], events)


def _import(case: str, make: Callable[[], T]) -> T | None:
    """What an importer gives; None, and a line on standard error, where it refuses what the record holds as right."""
    try:
        return make()
    except StepwellError as error:
        print(f"{case}: {str(error).splitlines()[0]}", file=sys.stderr)
        return None


def tests_support(tests: Path) -> Iterator[Seen]:
    """From the project's own tests of the doors, whose results are compared with NumPy."""
    for door in ("tensorflow", "caffe"):
        for module, events in imports_of_tests(door, [str(tests / "frontends" / door)]):
            yield from _seen(door, module, events)


def network_support(share: int = 1) -> Iterator[Seen]:
    """From one network of each layer and element type, built and interpreted."""
    for layer, element, build in list(networks())[::share]:
        try:
            module = build().module()
            stepwell.interpret(module, signature_of(module).random_inputs())
        except StepwellError:
            continue
        yield Seen("network", layer, element, "graph")
        yield from (Seen("network", layer, element, t) for t in TARGETS if not any(refused_ops(module, t)))


def _seen(door: str, module: ModuleOp, events: ImportEvents) -> Iterator[Seen]:
    """Every node runs in the interpreter; on a target those runs all of whose ops the lowering takes."""
    refused = {t: {name for refused in refused_ops(module, t) for name in refused.names} for t in TARGETS}
    present = {name for op in live_ops(main_function(module).body.block) for name in names_of(op) if _computes(op)}
    for name, operator, element in _nodes(events):
        yield Seen(door, operator, element, "graph")
        if name in present or operator in WITHOUT_OPS[door]:
            yield from (Seen(door, operator, element, target) for target in TARGETS if name not in refused[target])


def _computes(op: Operation) -> bool:
    """False for what a node whose inputs are constant has become."""
    return not isinstance(op, WeightOp | ConstantOp)


def _nodes(events: ImportEvents) -> Iterable[tuple[str, str, str]]:
    """Name, operator and the first input's element type (without inputs the first output's) of each node that was converted."""
    inputs = {event.name: event.tensors for event in events.records if event.kind == "inputs" and event.tensors}
    for event in events.records:
        tensors = inputs.get(event.name, event.tensors) if event.kind == "outputs" else ()
        found = _ELEMENT.match(tensors[0][1]) if tensors else None
        if found is not None:
            yield event.name, event.operator, found[1]


if __name__ == "__main__":
    sys.exit(main())
