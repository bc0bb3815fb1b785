"""A network that grows: names, layers, inputs, outputs; every layer is checked when it is added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Block, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import graph
from stepwell.dialects.weights import WeightStore, keep_weights
from stepwell.frontends.builder import GraphBuilder, module_of
from stepwell.frontends.emitter import Unsupported, set_name_hint
from stepwell.frontends.network.build import NetworkBuilder
from stepwell.frontends.network.tensor import Tensor, element_named
from stepwell.ir.locations import location_of
from stepwell.runtime.errors import ModelError


@dataclass(frozen=True)
class Layer:
    """A layer of a network: `kind` is the word behind `add_`."""

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class NetworkCore:
    """What all layers share. Names of layers and inputs are unique; where none is given one is made of the kind and a number."""

    def __init__(self, name: str = "network", *, max_batch_size: int | None = None) -> None:
        """`max_batch_size` puts the batch in front of every input's shape (TensorRT's implicit batch): it is dim 0 of all tensors that hang on inputs."""
        if max_batch_size is not None and max_batch_size < 1:
            raise ModelError(f"max_batch_size is {max_batch_size}", where=name, hint="give 1 or more, or leave it out")
        self.name, self.max_batch_size = name, max_batch_size
        self.inputs: tuple[Tensor, ...] = ()
        self._layers: list[Layer] = []
        self._tensors: dict[str, Tensor] = {}
        self._taken: set[str] = set()
        self._kinds: Counter[str] = Counter()
        self._outputs: dict[str, Tensor] = {}
        self._block = Block()
        self._build = NetworkBuilder(self._block, WeightStore(origin=f"network {name!r}"))
        self._current: tuple[str, str, tuple[Tensor, ...]] = ("", "", ())

    # --- what is there

    @property
    def outputs(self) -> dict[str, Tensor]:
        """The marked outputs by name, in the order in which they were marked."""
        return dict(self._outputs)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All inputs and results by name."""
        return dict(self._tensors)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers in the order in which they were added; iterating over the network gives them too."""
        return tuple(self._layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self._layers)

    # --- inputs and outputs

    def add_input(self, name: str, shape: Sequence[int], dtype: Any = "f32") -> Tensor:
        """An input of the network; with `max_batch_size` the shape is that of one element of the batch."""
        with self._layer("input", name) as build:
            called = build.node_name
            batch = () if self.max_batch_size is None else (self.max_batch_size,)
            extents = (*batch, *(int(extent) for extent in shape))
            if any(extent < 0 for extent in extents):
                raise Unsupported(f"shape {list(extents)} has a negative extent: inputs have fixed shapes")
            value = self._block.insert_arg(TensorType(element_named(dtype), extents), len(self._block.args))
            set_name_hint(value, called)
            value.location = location_of([called])
            tensor = Tensor(called, value)
            self.inputs = (*self.inputs, tensor)
            self._tensors[called] = tensor
            self._taken.add(called)
        return tensor

    def mark_output(self, tensor: Tensor, name: str = "") -> Tensor:
        """Make a tensor an output of the network, under its own name or another."""
        called = name or getattr(tensor, "name", "")
        if not isinstance(tensor, Tensor) or self._tensors.get(tensor.name) is not tensor:
            raise ModelError(f"{tensor!r} is no tensor of network {self.name!r}", where=f"mark_output {called}")
        if called in self._outputs:
            raise ModelError(f"an output is called {called!r} already", where="mark_output", hint="name=... another")
        self._outputs[called] = tensor
        return tensor

    # --- the module

    def module(self, outputs: Sequence[str] | None = None) -> ModuleOp:
        """The graph-level module with its weights; `outputs` are tensors by name in place of the marked ones. ModelError without any."""
        return keep_weights(*self.module_and_weights(outputs))

    def module_and_weights(self, outputs: Sequence[str] | None = None) -> tuple[ModuleOp, WeightStore]:
        """As `module`, the weights beside it: those that are used."""
        chosen = self._chosen(outputs)
        block = Block(arg_types=[tensor.value.type for tensor in self.inputs])
        values: dict[SSAValue, SSAValue] = {}
        for tensor, argument in zip(self.inputs, block.args, strict=True):
            set_name_hint(argument, tensor.name)
            argument.location = location_of([tensor.name])
            values[tensor.value] = argument
        block.add_ops([op.clone(values) for op in self._block.ops])
        build = GraphBuilder(block, self._build.weights.restricted_to(self._build.weights))
        results = build.finish([values[tensor.value] for tensor in chosen.values()])
        module = module_of(block, [tensor.name for tensor in self.inputs], results, list(chosen), self.name)
        module.verify()
        used = [op.ref.source.data for op in module.walk() if isinstance(op, graph.WeightOp)]
        return module, build.weights.restricted_to(used)

    def _chosen(self, outputs: Sequence[str] | None) -> dict[str, Tensor]:
        if outputs is None and not self._outputs:
            raise ModelError("no output is marked", where=f"network {self.name!r}", hint="network.mark_output(tensor)")
        if outputs is None:
            return self._outputs
        known = {**self._tensors, **self._outputs}
        unknown = [name for name in outputs if name not in known]
        if unknown or not outputs:
            raise ModelError(
                f"{unknown[0]!r} is no tensor" if unknown else "no output is named",
                where=f"network {self.name!r}",
                hint=f"tensors: {', '.join(list(known)[-8:])}",
            )
        return {name: known[name] for name in outputs}

    # --- adding a layer

    @contextmanager
    def _layer(self, kind: str, name: str, *inputs: Tensor, also: Sequence[object] = ()) -> Iterator[NetworkBuilder]:
        """The builder for one layer of `inputs` and of what of `also` is a tensor; where it cannot be made a ModelError says so, and the network is as
        before."""
        called = name or next(
            made for number in count(self._kinds[kind] + 1) if (made := f"{kind}{number}") not in self._taken
        )
        tensors = tuple(value for value in (*inputs, *also) if isinstance(value, Tensor))
        build, block, held = self._build, self._build.block, list(self._build.weights)
        before = block.last_op
        self._current, build.node_name = (called, kind, tensors), called
        try:
            self._check(called, inputs, tensors)
            yield build
        except ModelError:  # of a layer in its body
            self._take_back(block, before, held)
            raise
        except (Unsupported, VerifyException, TypeError, ValueError, OverflowError) as error:
            self._take_back(block, before, held)
            listed = "; inputs: " + ", ".join(map(repr, tensors)) if tensors else ""
            advice = f"help(stepwell.Network.add_{kind}) says what it takes"
            raise ModelError(f"{error}{listed}", where=f"{called} ({kind})", hint=advice) from error

    def _take_back(self, block: Block, before: Operation | None, weights: Sequence[str]) -> None:
        """The block and the weights as they were before a layer."""
        while (last := block.last_op) is not None and last is not before:
            block.erase_op(last)
        self._build.weights = self._build.weights.restricted_to(weights)

    def _check(self, called: str, inputs: Sequence[object], tensors: Sequence[Tensor]) -> None:
        if called in self._taken:
            raise Unsupported(f"the name {called!r} is taken: give another one, or none")
        for value in inputs:
            if not isinstance(value, Tensor):
                raise Unsupported(
                    f"{type(value).__name__} is no tensor of the network: add_constant makes one of an array"
                )
        for tensor in tensors:
            if self._tensors.get(tensor.name) is not tensor:
                raise Unsupported(f"{tensor!r} is a tensor of another network, or of a body that ended")

    def _result(self, value: SSAValue) -> Tensor:
        """The only result of the layer that is being added."""
        return self._results({"": value})[0]

    def _results(self, values: dict[str, SSAValue]) -> tuple[Tensor, ...]:
        """The results of the layer that is being added, by what they are called behind the layer's name."""
        name, kind, inputs = self._current
        made = tuple(Tensor(f"{name}.{own}" if own else name, value) for own, value in values.items())
        clash = next((tensor.name for tensor in made if tensor.name in self._taken), None)
        if clash is not None:
            raise Unsupported(f"the name {clash!r} of a result is taken: give the layer another one")
        for tensor in made:
            self._tensors[tensor.name] = tensor
            if tensor.value.name_hint is None:
                set_name_hint(tensor.value, tensor.name)
        self._taken.update(tensor.name for tensor in made)
        self._taken.add(name)
        self._kinds[kind] += 1
        self._layers.append(Layer(name, kind, inputs, made))
        return made
