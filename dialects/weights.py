"""The WeightStore: names to arrays, outside the IR. Memory-mapped from `.safetensors`, in memory, or made up (`random:SEED`).

>>> import numpy as np
>>> from stepwell.dialects.graph import StepAttr
>>> store = WeightStore()
>>> ref = store.add("fc.weight", np.arange(6, dtype=np.float32).reshape(2, 3))
>>> store.evaluate(ref.then(StepAttr("transpose", [1, 0]))).shape
(3, 2)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TypeAlias

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute

from stepwell.dialects import safetensors_file
from stepwell.dialects.graph.attributes import WeightAttr
from stepwell.dialects.graph.recipes import step_named
from stepwell.dialects.numpy_types import Array, numpy_dtype, tensor_type_of
from stepwell.runtime.errors import ModelError, UsageError
from stepwell.runtime.files import unwritable

CONTENT_DIGITS = 12
"""Digits of the hash in the name of a weight that is called after its contents."""
ELEMENT_HINT = "elements must be f16, f32, f64, bool or signed integers: convert the weights"


class WeightStore:
    """Arrays by name, each with its sha256; evaluates the recipes of `#graph.weight` references."""

    def __init__(
        self,
        arrays: Mapping[str, Array] | None = None,
        *,
        origin: str = "the weight store",
        files: Sequence[str | Path] = (),
    ) -> None:
        self._arrays: dict[str, Array] = dict(arrays or {})
        self._hashes: dict[str, str] = {}
        self.computed: set[str] = set()
        """Names of the weights that passes added: no file holds them yet."""
        self.origin = origin
        self.files = tuple(files)
        """The files that the arrays come from."""

    @classmethod
    def load(cls, path: str | Path) -> WeightStore:
        """The arrays of a `.safetensors` file, memory-mapped; ModelError when it is missing or damaged."""
        return cls(safetensors_file.read(path), origin=str(path), files=(path,))

    def save(self, path: str | Path) -> None:
        """Write all arrays to a `.safetensors` file, beside it first and then renamed; a UsageError says why it cannot be written."""
        try:
            safetensors_file.write(path, self._arrays)
        except OSError as error:
            raise unwritable(path, error) from None

    def add(self, name: str, array: Array) -> WeightAttr:
        """Store `array` and return its reference. The name must be new, or stand for the same values; ModelError otherwise."""
        held = np.ascontiguousarray(array).reshape(np.shape(array))
        if name in self._arrays and sha256_of(held) != self.sha256(name):
            raise ModelError(f"two different weights are called {name!r}", where=self.origin, hint="rename one of them")
        self._arrays[name] = held
        return self.reference(name)

    def add_by_content(self, name: str, array: Array) -> WeightAttr:
        """Store `array` as `name#` and the first digits of its hash, and return its reference: the same values always get the same name. Bytes that
        mean something else, of another type or shape, are told apart by these."""
        called = f"{name}#{sha256_of(array)[:CONTENT_DIGITS]}"
        held = self._arrays.get(called)
        if held is not None and (held.dtype, held.shape) != (array.dtype, array.shape):
            called += f".{array.dtype.name}.{'x'.join(map(str, array.shape))}"
        reference = self.add(called, array)
        self.computed.add(reference.source.data)
        return reference

    def array(self, name: str) -> Array:
        """The stored array; ModelError with the names that are there."""
        if name not in self._arrays:
            known = ", ".join(sorted(self._arrays)[:8]) or "none"
            raise ModelError(
                f"no weight {name!r} in {self.origin}", where=name, hint=f"it holds {len(self)} weights: {known}"
            )
        return self._arrays[name]

    def sha256(self, name: str) -> str:
        """The hash of an array's bytes in row-major, little-endian order."""
        if name not in self._hashes:
            self._hashes[name] = sha256_of(self.array(name))
        return self._hashes[name]

    def reference(self, name: str) -> WeightAttr:
        """The reference to a stored array, without steps; ModelError for element types that the IR lacks."""
        try:
            type = tensor_type_of(self.array(name))
        except TypeError as error:
            raise ModelError(str(error), where=name, hint=ELEMENT_HINT) from None
        return WeightAttr(name, self.sha256(name), type)

    def stored(self, ref: WeightAttr) -> Array:
        """The array that `ref` names, checked against its type and hash; ModelError when they differ."""
        name = ref.source.data
        array = self.array(name)
        if (array.shape, array.dtype) != (ref.type.get_shape(), numpy_dtype(ref.type)):
            raise ModelError(
                f"the weight is {array.dtype} of shape {list(array.shape)} in {self.origin}, the module expects {ref.type}",
                where=name,
                hint="these weights belong to another model: give the file that was saved with the module",
            )
        if self.sha256(name) != ref.sha256.data:
            raise ModelError(
                f"the weight's sha256 in {self.origin} is {self.sha256(name)[:12]}.., the module expects {ref.sha256.data[:12]}..",
                where=name,
                hint="these weights belong to another model: give the file that was saved with the module",
            )
        return array

    def evaluate(self, ref: WeightAttr) -> Array:
        """The array after all steps of the recipe, contiguous, read-only where no step changed it."""
        array = self.stored(ref)
        for step in ref.steps:
            array = step_named(step.kind.data).apply(array, step.values)
        return np.ascontiguousarray(array).reshape(array.shape)

    def restricted_to(self, names: Iterable[str]) -> WeightStore:
        """A store that holds only these names, sharing the arrays."""
        return WeightStore(
            {name: self.array(name) for name in dict.fromkeys(names)}, origin=self.origin, files=self.files
        )

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


class RandomWeightStore(WeightStore):
    """Seeded values for every reference, whatever its name and hash: for networks whose weights are not at hand.

    Floats are normal with variance 2 / (elements per row), He's rule, so that activations keep their size; vectors (biases) are
    0.2 times normal; integers lie in [-3, 3]. The same seed, name and type give the same values on every machine."""

    def __init__(self, seed: int) -> None:
        super().__init__(origin=f"random:{seed}")
        self.seed = seed

    def stored(self, ref: WeightAttr) -> Array:
        """Values made from the seed and the reference's name and type; of a weight that was added to the store, its own. ModelError for one that is
        called after its contents and is not here: it was computed once, and numbers of a seed are not it."""
        name = ref.source.data
        if name in self:
            return super().stored(ref)
        if name.endswith(f"#{ref.sha256.data[:CONTENT_DIGITS]}"):
            raise ModelError(
                f"a pass computed this weight, and {self.origin} cannot make it up",
                where=name,
                hint="keep the weights with the module where the pass is run: --weights-out FILE.safetensors",
            )
        return _random_array(self.seed, name, ref.type.get_shape(), numpy_dtype(ref.type), ref.type.element_type)


def _random_array(
    seed: int, name: str, shape: tuple[int, ...], dtype: np.dtype[np.generic], element: Attribute
) -> Array:
    digest = hashlib.sha256(f"{seed}:{name}:{shape}:{element}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
    if dtype.kind != "f":
        return generator.integers(-3, 4, shape).astype(dtype)
    scale = 0.2 if len(shape) < 2 else (2.0 / max(1, prod(shape[1:]))) ** 0.5
    return (generator.standard_normal(shape) * scale).astype(dtype)


def sha256_of(array: Array) -> str:
    """The hash of an array's bytes in row-major, little-endian order."""
    held = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(held.reshape(-1).view(np.uint8).data).hexdigest()


WeightSource: TypeAlias = str | Path | WeightStore | Mapping[str, Array]
"""What a user may give as weights: a `.safetensors` file, `random:SEED`, a store, or arrays by name."""


def open_weights(source: WeightSource) -> WeightStore:
    """The store for what a user gave; UsageError when it is neither a known file kind nor `random:SEED`."""
    if isinstance(source, WeightStore):
        return source
    if isinstance(source, Mapping):
        return WeightStore({name: np.asarray(array) for name, array in source.items()})
    text = str(source)
    if text.startswith("random:"):
        seed = text.removeprefix("random:")
        if not seed.isdecimal():
            raise UsageError(f"seed {seed!r} is no number", where="weights", hint='write for example "random:0"')
        return RandomWeightStore(int(seed))
    if not text.endswith(".safetensors"):
        raise UsageError(
            f"do not know how to read weights from {text!r}",
            where="weights",
            hint='give a .safetensors file or "random:SEED"',
        )
    return WeightStore.load(text)


def weights_of(module: ModuleOp) -> WeightStore | None:
    """The weights that `import_model`, and `lower` after it, keep with a module in memory."""
    return getattr(module, _WEIGHTS, None)


def keep_weights(module: ModuleOp, weights: WeightStore | None) -> ModuleOp:
    """Keep `weights` with `module`; they are no part of the IR, and a clone does not have them."""
    setattr(module, _WEIGHTS, weights)
    return module


_WEIGHTS = "stepwell_weights"
