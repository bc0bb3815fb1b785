"""The graphs that TensorFlow computed references for, through the importer and the graph interpreter.

python -m stepwell.testing.conformance tf_graphs                      every graph
python -m stepwell.testing.conformance tf_graphs --only 'cnn*'        those whose name matches
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

import stepwell
from stepwell.frontends.events import ImportEvents
from stepwell.runtime.errors import UsageError
from stepwell.testing.conformance.case import Outcome
from stepwell.testing.corpora import references, relative_difference

TOLERANCE = 1e-3
"""Of the largest finite element of the reference; infinities and NaN must stand at the same places."""


def run_graph(path: Path, outputs: Sequence[str]) -> Outcome:
    """Import the graph with the inputs' shapes, interpret it and compare with io.npz beside it. StepwellErrors where it is refused."""
    inputs, wanted = references(path.parent)
    module = import_graph(path, outputs, {name: array.shape for name, array in inputs.items()})
    results = stepwell.interpret(module, {k: v for k, v in inputs.items() if k in _input_names(module)})
    differences = [relative_difference(results[name], wanted[name], TOLERANCE) for name in outputs]
    found = next((text for text in differences if text), "")
    return Outcome("wrong" if found else "right", found)


def import_graph(
    path: Path, outputs: Sequence[str], shapes: dict[str, tuple[int, ...]], events: ImportEvents | None = None
) -> ModuleOp:
    """Some of a graph's placeholders may hang on nothing that is asked for: those shapes are not said, nor those without elements, which no option can say."""
    known = {name: shape for name, shape in shapes.items() if 0 not in shape}
    while True:
        try:
            return stepwell.import_model(path, outputs=outputs, shapes=known, events=events)
        except UsageError as error:
            unused = [name for name in known if repr(name) in str(error) and "no input" in str(error)]
            if not unused:
                raise
            del known[unused[0]]


def _input_names(module: ModuleOp) -> list[str]:
    from stepwell.driver.signature import signature_of

    return [entry.name for entry in signature_of(module).inputs]
