"""What an import did, as records: nine kinds, the same for every frontend (TensorRT's parser log says these nine in words).

>>> events = ImportEvents("ONNX")
>>> events.node("conv1", "Conv")
>>> events.records[0].kind, str(events.records[0])
('node', 'Parsing node: conv1 [Conv]')
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects.graph import WeightOp
from stepwell.frontends.emitter import tensor_type

Kind = Literal["network-input", "tensor", "initializer", "node", "search", "inputs", "layer", "outputs", "output"]


@dataclass(frozen=True)
class ImportEvent:
    """One thing that happened. `name` is the node or tensor it is about, `operator` the node's, `tensors` are name and type of each, `where` the file; `text` says it in words."""

    kind: Kind
    name: str
    text: str
    operator: str = ""
    tensors: tuple[tuple[str, str], ...] = ()

    where: str = ""

    def __str__(self) -> str:
        return self.text

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON can hold it; tensors are objects with name and type."""
        tensors = [{"name": name, "type": type} for name, type in self.tensors]
        return {
            "kind": self.kind,
            "name": self.name,
            "operator": self.operator,
            "tensors": tensors,
            "where": self.where,
            "text": self.text,
        }


@dataclass
class ImportEvents:
    """Collects the events of one import; `source` is the framework whose names they quote (an importer puts its own where there is none), `where` the file."""

    source: str = ""
    where: str = ""
    records: list[ImportEvent] = field(default_factory=list)

    def network_input(self, name: str, value: SSAValue) -> None:
        """An input of the network was made."""
        type = tensor_type(value)
        text = f"Adding network input: {name} with dtype: {type.element_type}, dimensions: {_dims(value)}"
        self._add("network-input", name, text, tensors=[(name, value)])
        self._add(
            "tensor", name, f"Registering tensor: {name} for {self.source} tensor: {name}", tensors=[(name, value)]
        )

    def initializer(self, name: str) -> None:
        """A stored array was made a weight."""
        self._add("initializer", name, f"Importing initializer: {name}")

    def node(self, name: str, operator: str) -> None:
        """A node is looked at."""
        self._add("node", name, f"Parsing node: {name} [{operator}]", operator)

    def inputs(self, name: str, operator: str, tensors: Sequence[tuple[str, SSAValue]]) -> None:
        """The inputs of a node were found."""
        for tensor, value in tensors:
            self._add("search", name, f"Searching for input: {tensor}", operator, [(tensor, value)])
        self._add("inputs", name, f"{name} [{operator}] inputs: {_listed(tensors)}", operator, tensors)

    def outputs(self, name: str, operator: str, tensors: Sequence[tuple[str, SSAValue]]) -> None:
        """A node became ops, and its outputs are known by name."""
        self._add("layer", name, f"Registering layer: {name} for {self.source} node: {name}", operator)
        for tensor, value in tensors:
            self._add(
                "tensor",
                tensor,
                f"Registering tensor: {tensor} for {self.source} tensor: {tensor}",
                operator,
                [(tensor, value)],
            )
        self._add("outputs", name, f"{name} [{operator}] outputs: {_listed(tensors)}", operator, tensors)

    def output(self, name: str, value: SSAValue) -> None:
        """A tensor is an output of the network."""
        self._add("output", name, f"Marking {value.name_hint or name} as output: {name}", tensors=[(name, value)])

    def _add(
        self, kind: Kind, name: str, text: str, operator: str = "", tensors: Sequence[tuple[str, SSAValue]] = ()
    ) -> None:
        typed = tuple((tensor, str(value.type)) for tensor, value in tensors)
        self.records.append(ImportEvent(kind, name, text, operator, typed, self.where))


def events_of(given: ImportEvents | None, source: str, where: str = "") -> ImportEvents:
    """The events that a user gave, or new ones, with what is not said of framework and file."""
    events = given if given is not None else ImportEvents()
    events.source, events.where = events.source or source, events.where or where
    return events


def weights_after(block: Block, op: Operation | None) -> Iterator[str]:
    """The names of the weights that stand in `block` behind `op`, or in all of it."""
    found = block.first_op if op is None else op.next_op
    while found is not None:
        if isinstance(found, WeightOp):
            yield found.ref.source.data
        found = found.next_op


def _dims(value: SSAValue) -> str:
    return f"({', '.join(map(str, tensor_type(value).get_shape()))})"


def _listed(tensors: Sequence[tuple[str, SSAValue]]) -> str:
    return ", ".join(f"[{name} -> {_dims(value)}]" for name, value in tensors)
