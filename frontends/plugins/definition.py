"""A plugin: one function says what comes out, others what it means.

    @stepwell.plugin("Mish", namespace="examples", types=("f16", "f32", "f64"))
    def mish(x):
        return x

    @mish.reference
    def mish_in_numpy(x):
        return x * np.tanh(np.log1p(np.exp(x)))

    @mish.graph
    def mish_in_ops(build, x):
        return build.binary("mul", x, build.unary("tanh", build.unary("softplus", x)))

The decorated function gets a TensorSpec for each input and returns one for each result; its keyword-only arguments are the parameters. It is known from then on
to the verifier, the interpreters, the importers and `Network.add_plugin`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.graph.plugins import register_plugin
from stepwell.dialects.numpy_types import ELEMENT_TYPE_NAMES, Array, numpy_dtype, tensor_type_of
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.plugins.building import PluginBuilder, function_module
from stepwell.frontends.plugins.parameters import complete, declared_parameters, from_attribute, to_attribute
from stepwell.frontends.plugins.programs import parse_program, run_ptx_kernel, run_tile_program
from stepwell.frontends.plugins.specs import spec_of, type_of
from stepwell.runtime.errors import ModelError, StepwellError, UsageError

DOORS = ("onnx", "caffe", "tensorflow")
"""The importers that look for plugins."""
Function = TypeVar("Function", bound=Callable[..., Any])
Parameters = Mapping[str, Attribute]


class Plugin:
    """One version of a plugin. `names` says how an importer's files call it where they do not call it by name and namespace."""

    def __init__(
        self,
        shapes: Callable[..., Any],
        name: str,
        version: str,
        namespace: str,
        types: Sequence[str],
        names: Mapping[str, str],
    ) -> None:
        self.shapes, self.name, self.version, self.namespace = shapes, name, version, namespace
        self.types, self.names = tuple(types), dict(names)
        self.declared = declared_parameters(shapes)
        self.inputs = [p for p in inspect.signature(shapes).parameters.values() if p.name not in self.declared]
        self._reference: Callable[..., Any] | None = None
        self._graph: Callable[..., Any] | None = None
        self._tile: Callable[..., Any] | None = None
        self._ptx: Callable[..., Any] | None = None
        self.__doc__ = inspect.getdoc(shapes)

    def __str__(self) -> str:
        return f"{self.namespace}::{self.name}" if self.namespace else self.name

    def __repr__(self) -> str:
        return f"plugin {self}, version {self.version}"

    def redefines(self, old: Plugin) -> bool:
        """Whether the shape function is that of `old`, written again (a cell that is executed twice) or loaded again from another place."""
        mine, theirs = self.shapes, old.shapes
        if (mine.__module__, mine.__qualname__) == (theirs.__module__, theirs.__qualname__):
            return True
        return mine.__code__ == theirs.__code__

    # --- what the author says

    def reference(self, function: Function) -> Function:
        """Decorates the meaning in NumPy: arrays in, parameters by name, an array (or a tuple of them) out, in the types that the shape function says."""
        self._reference = function
        return function

    def graph(self, function: Function) -> Function:
        """Decorates the meaning in ops: a builder and the inputs as values, parameters by name; it returns the results. Every executor has it then."""
        self._graph = function
        return function

    def tile(self, function: Function) -> Function:
        """Decorates the meaning as a program of the tile level: TensorSpecs in, parameters by name, the text of a module out, whose `@main` takes the inputs. It is executed where there is
        neither a reference nor ops, and compiled where there are no ops. A function that has a parameter `target` gets the machine's name ("sm_90a", "x86-64-v4"), in the interpreter ""."""
        self._tile = function
        return function

    def ptx(self, function: Function) -> Function:
        """Decorates the meaning as PTX: TensorSpecs in, parameters by name, a PtxKernel out. It is executed by the PTX interpreter where there is nothing above it; no pipeline links it
        into a plan yet."""
        self._ptx = function
        return function

    @property
    def form(self) -> str:
        """The most abstract form in which the meaning is there: ops, NumPy, a tile program, PTX, or nothing."""
        forms = {"ops": self._graph, "NumPy": self._reference, "a tile program": self._tile, "PTX": self._ptx}
        return next((name for name, function in forms.items() if function is not None), "")

    @property
    def has_ops(self) -> bool:
        """Whether the meaning is there as graph ops."""
        return self._graph is not None

    @property
    def has_program(self) -> bool:
        """Whether the meaning is there as a program of the tile level."""
        return self._tile is not None

    # --- what the dialect asks

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Attribute]:
        """All parameters as a module holds them, defaults included; Unsupported for unknown, missing and wrong ones."""
        values = {name: from_attribute(name, v) if isinstance(v, Attribute) else v for name, v in given.items()}
        return {name: to_attribute(name, value) for name, value in complete(self.declared, values).items()}

    def infer(self, operands: Sequence[Attribute], parameters: Parameters) -> Sequence[Attribute]:
        """The result types by the shape function; VerifyException where it refuses."""
        try:
            specs = [spec_of(checks.tensor(type, f"input {place}")) for place, type in enumerate(operands)]
            self._check_inputs([spec.dtype for spec in specs])
            made = self._call(self.shapes, *specs, **self._values(parameters))
            return [type_of(spec, place) for place, spec in enumerate(_as_tuple(made))]
        except Unsupported as error:
            raise VerifyException(f"{self}: {error}") from None

    def run(self, arrays: Sequence[Array], parameters: Parameters) -> Sequence[Array]:
        """The results in NumPy; ModelErrors where the reference fails, or gives other types than the shape function."""
        try:
            wanted = self.infer([tensor_type_of(array) for array in arrays], parameters)
            return self._checked(self._run(arrays, parameters), wanted)
        except (Unsupported, VerifyException) as error:
            raise ModelError(str(error), where=repr(self)) from None

    def run_ops(self, arrays: Sequence[Array], parameters: Parameters) -> Sequence[Array]:
        """The results of its ops in the interpreter, whether there is a reference or not."""
        try:
            wanted = self.infer([tensor_type_of(array) for array in arrays], parameters)
            return self._checked(self._run_ops(arrays, parameters), wanted)
        except (Unsupported, VerifyException) as error:
            raise ModelError(str(error), where=repr(self)) from None

    def expand(self, op: Operation, parameters: Parameters, weights: WeightStore, block: Block) -> list[SSAValue]:
        """The op's results as ops that are appended to `block`; VerifyException where the meaning refuses or gives other types than the op has."""
        build = PluginBuilder(block, weights)
        build.node_name, build.like = self.name, op
        try:
            results = self._meaning(build, list(op.operands), parameters)
        except Unsupported as error:
            raise VerifyException(f"{self}: {error}") from None
        for place, (value, result) in enumerate(zip(results, op.results, strict=False)):
            if value.type != result.type:
                raise VerifyException(
                    f"{self}: its ops give a {value.type} as result {place}, the op has a {result.type}"
                )
        if len(results) != len(op.results):
            raise VerifyException(f"{self}: its ops give {len(results)} results, the op has {len(op.results)}")
        return results

    def program(self, operands: Sequence[Attribute], parameters: Parameters, target: str) -> ModuleOp:
        """The meaning for a machine as a module of the tile level; VerifyException where it refuses or is none."""
        try:
            return self._program(operands, parameters, target)
        except (Unsupported, ModelError) as error:
            raise VerifyException(f"{self}: {error}") from None

    # --- parts

    def _program(self, operands: Sequence[Attribute], parameters: Parameters, target: str) -> ModuleOp:
        if self._tile is None:
            raise Unsupported("it has no tile program")
        specs = [spec_of(checks.tensor(type, f"input {place}")) for place, type in enumerate(operands)]
        values = self._values(parameters)
        if "target" in inspect.signature(self._tile).parameters and "target" not in self.declared:
            values["target"] = target
        return parse_program(self._call(self._tile, *specs, **values), operands, f"the tile program of {self}")

    def _run(self, arrays: Sequence[Array], parameters: Parameters) -> tuple[Any, ...]:
        if self._reference is not None:
            with np.errstate(all="ignore"):
                return _as_tuple(self._call(self._reference, *arrays, **self._values(parameters)))
        if self._graph is not None:
            return self._run_ops(arrays, parameters)
        return self._run_program(arrays, parameters)

    def _run_program(self, arrays: Sequence[Array], parameters: Parameters) -> tuple[Any, ...]:
        types = [tensor_type_of(array) for array in arrays]
        specs = [spec_of(checks.tensor(type, f"input {place}")) for place, type in enumerate(types)]
        values = self._values(parameters)
        if self._tile is not None:
            return run_tile_program(self._program(types, parameters, ""), arrays)
        if self._ptx is not None:
            kernel = self._call(self._ptx, *specs, **values)
            return tuple(run_ptx_kernel(kernel, arrays, self.infer(types, parameters), f"the PTX of {self}"))
        raise Unsupported(f"{self} has no meaning: decorate a function with .reference, .graph, .tile or .ptx")

    def _run_ops(self, arrays: Sequence[Array], parameters: Parameters) -> tuple[Any, ...]:
        if self._graph is None:
            raise Unsupported(f"{self} does not say its meaning in ops: decorate a function with .graph")
        block, store = Block(arg_types=[tensor_type_of(array) for array in arrays]), WeightStore()
        build = PluginBuilder(block, store)
        build.node_name = self.name
        module = function_module(block, self._meaning(build, list(block.args), parameters))
        feeds = {f"input{place}": array for place, array in enumerate(arrays)}
        return tuple(interpret(module, feeds, store).values())

    def _meaning(self, build: PluginBuilder, values: Sequence[SSAValue], parameters: Parameters) -> list[SSAValue]:
        assert self._graph is not None
        made = _as_tuple(self._call(self._graph, build, *values, **self._values(parameters)))
        wrong = next((value for value in made if not isinstance(value, SSAValue)), None)
        if wrong is not None:
            raise Unsupported(f"its ops give {wrong!r}: give values that the builder made")
        return list(made)

    def _values(self, parameters: Parameters) -> dict[str, Any]:
        values = {name: from_attribute(name, attribute) for name, attribute in parameters.items()}
        return complete(self.declared, values)

    def _check_inputs(self, dtypes: Sequence[str]) -> None:
        needed = sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in self.inputs)
        any_number = any(p.kind is p.VAR_POSITIONAL for p in self.inputs)
        if len(dtypes) < needed or (len(dtypes) > len(self.inputs) and not any_number):
            most = "more" if any_number else str(len(self.inputs))
            raise Unsupported(f"it has {len(dtypes)} inputs, {needed} to {most} are taken")
        wrong = next((dtype for dtype in dtypes if self.types and dtype not in self.types), None)
        if wrong is not None:
            raise Unsupported(f"an input is {wrong}: it takes {', '.join(self.types)}")

    def _call(self, function: Callable[..., Any], *values: Any, **parameters: Any) -> Any:
        """What the author's function gives; Unsupported, with its words, where it raises."""
        try:
            return function(*values, **parameters)
        except (Unsupported, VerifyException, ValueError) as error:
            raise Unsupported(str(error)) from error
        except (StepwellError, MemoryError):
            raise
        except Exception as error:  # whatever it raises is the plugin's
            where = f"{function.__qualname__} of {self!r}"
            raise ModelError(f"{type(error).__name__}: {error}", where=where, hint="mend the plugin") from error

    def _checked(self, made: Sequence[Any], wanted: Sequence[Attribute]) -> list[Array]:
        arrays = [np.asarray(array) for array in made]
        if len(arrays) != len(wanted):
            raise Unsupported(f"{self}: the reference gives {len(arrays)} results, the shape function {len(wanted)}")
        for place, (array, type) in enumerate(zip(arrays, wanted, strict=True)):
            said = checks.tensor(type, f"result {place}")
            fits = array.ndim == said.rank and all(a <= int(b) for a, b in zip(array.shape, said.shape, strict=True))
            if array.dtype != numpy_dtype(said.element) or not fits:
                held = f"{array.dtype}{list(array.shape)}"
                raise Unsupported(f"{self}: the reference gives {held} as result {place}, the shape function {type}")
        return arrays


def plugin(
    name: str,
    version: str = "1",
    namespace: str = "",
    *,
    types: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Plugin]:
    """Makes a plugin of its shape function and registers it.

    `types`: element types that inputs may have (none: all); `names`: what the files of a door call it, {"onnx": "com.acme::Mish", "tensorflow": "Addons>Mish"}, where that is not
    `namespace::name` (ONNX's domain is the namespace), the bare name (Caffe), `namespace>name` or the bare name (TensorFlow). UsageErrors for words that are none, and for a plugin that is there already.
    """
    where = f"plugin {name!r}"
    unknown = [door for door in names or {} if door not in DOORS]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no door", where=where, hint=f"doors: {', '.join(DOORS)}")
    wrong = [types] if isinstance(types, str) else [type for type in types if type not in ELEMENT_TYPE_NAMES]
    if wrong:
        raise UsageError(
            f"{wrong[0]!r} is no list" if isinstance(types, str) else f"{wrong[0]!r} is no element type",
            where=where,
            hint=f"a list of {', '.join(ELEMENT_TYPE_NAMES)}",
        )
    if not name:
        raise UsageError("a plugin needs a name", where="plugin")

    def made(shapes: Callable[..., Any]) -> Plugin:
        found = Plugin(shapes, name, str(version), namespace, types, names or {})
        try:
            register_plugin(found, replaces=_same_source)
        except ValueError as error:
            raise UsageError(str(error), where=where, hint="give it another version, name or namespace") from None
        return found

    return made


def _same_source(old: object, new: object) -> bool:
    return isinstance(old, Plugin) and isinstance(new, Plugin) and new.redefines(old)


def _as_tuple(made: Any) -> tuple[Any, ...]:
    return tuple(made) if isinstance(made, tuple | list) else (made,)
