"""Parses the JSON of a program (schema: `program.py`) without trusting it: what is not as it should be is a
PlanError."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from stepwell.runtime.errors import PlanError
from stepwell.runtime.program import (
    DTYPES,
    MAX_BYTES,
    SCHEMA,
    VALUE_KINDS,
    Argument,
    Binding,
    Copy,
    Launch,
    Place,
    Program,
    Table,
    TensorMap,
    Window,
    dtype_of,
)  # fmt: skip


def read_program(data: object, where: str = "program.json") -> Program:
    """Check and convert a parsed JSON value; PlanError says what is wrong with it."""
    return _Reader(where).program(data)


T = TypeVar("T")
_MAP_DTYPES = (*DTYPES, "f32_ftz", "tf32", "tf32_ftz")


class _Reader:
    """Typed access to a JSON value: every number has a range, every index is inside its list, every place is inside its
    space."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.arena = self.constants = 0
        self.bindings: tuple[Binding, ...] = ()
        self.windows: tuple[Window, ...] = ()

    def fail(self, what: str) -> PlanError:
        return PlanError(f"the program is damaged: {what}", where=self.where, hint="compile the plan again")

    def get(self, data: object, key: str) -> Any:
        if not isinstance(data, dict) or key not in data:
            raise self.fail(f"{key} is missing")
        return data[key]

    def number(self, data: object, key: str, low: int = 0, high: int = MAX_BYTES) -> int:
        value = self.get(data, key)
        if type(value) is not int or not low <= value <= high:
            raise self.fail(f"{key} is not a number from {low} to {high}")
        return int(value)

    def text(self, data: object, key: str, choices: Sequence[str] = ()) -> str:
        value = self.get(data, key)
        if not isinstance(value, str) or (choices and value not in choices):
            raise self.fail(f"{key} is not {' or '.join(choices) or 'a text'}")
        return value

    def items(self, data: object, key: str, read: Callable[[Any], T]) -> tuple[T, ...]:
        value = self.get(data, key)
        if not isinstance(value, list) or len(value) > 1 << 20:
            raise self.fail(f"{key} is not a list")
        return tuple(read(item) for item in value)

    def numbers(
        self, data: object, key: str, low: int = 0, high: int = 1 << 40, count: int | None = None
    ) -> tuple[int, ...]:
        values = self.items(data, key, lambda item: self.number({key: item}, key, low, high))
        if (count is not None and len(values) != count) or len(values) > 8:
            raise self.fail(f"{key} has {len(values)} numbers")
        return values

    def shape(self, data: object, dtype: str) -> tuple[int, ...]:
        shape = self.numbers(data, "shape")
        if math.prod(shape) * dtype_of(dtype).itemsize > MAX_BYTES:
            raise self.fail("a shape is too large")
        return shape

    def program(self, data: object) -> Program:
        if self.number(data, "schema", 0, 1 << 30) != SCHEMA:
            raise PlanError(
                f"the program has schema {self.get(data, 'schema')}, this runtime reads {SCHEMA}",
                where=self.where,
                hint="compile the plan again with this stepwell, or upgrade it",
            )
        target = self.text(data, "target")
        self.arena, self.constants = self.number(data, "arena"), self.number(data, "constants")
        self.bindings = self.items(data, "bindings", self.binding)
        if len({b.name for b in self.bindings}) != len(self.bindings):
            raise self.fail("two bindings have the same name")
        self.windows = self.items(data, "windows", self.window)
        tables = self.items(data, "tables", self.table)
        maps = self.items(data, "tensor_maps", self.tensor_map)
        kernels = self.items(data, "kernels", lambda item: self.text({"kernel name": item}, "kernel name"))
        counts = {"tensor_map": len(maps), "table": len(tables)}
        return Program(
            target=target,
            level=self.text(data, "level") if target == "cpu" else "",
            module_hash=self.text(data, "module_hash"),
            arena=self.arena,
            constants=self.constants,
            bindings=self.bindings,
            windows=self.windows,
            tables=tables,
            tensor_maps=maps,
            kernels=kernels,
            launches=self.items(data, "launches", lambda item: self.launch(item, target, len(kernels), counts)),
            copies=self.items(data, "copies", self.copy),
            memory=self.memory(data),
        )

    def memory(self, data: object) -> dict[str, int]:
        report = self.get(data, "memory")
        if not isinstance(report, dict):
            raise self.fail("memory is not a report")
        return {str(key): self.number(report, key) for key in report}

    def binding(self, data: object) -> Binding:
        dtype = self.text(data, "dtype", tuple(DTYPES))
        is_input = self.text(data, "direction", ("input", "output")) == "input"
        return Binding(self.text(data, "name"), is_input, dtype, self.shape(data, dtype))

    def place(self, data: object, size: int, key: str = "place") -> Place:
        """A place that `size` bytes fit behind."""
        value = self.get(data, key)
        space = self.text(value, "space", ("arena", "constants", "binding"))
        offset, binding = self.number(value, "offset"), -1
        limit = {"arena": self.arena, "constants": self.constants}.get(space, 0)
        if space == "binding":
            binding = self.number(value, "binding", 0, len(self.bindings) - 1)
            limit = self.bindings[binding].bytes
        if offset + size > limit:
            raise self.fail(f"{size} bytes at {offset} lie outside of the {limit} bytes of {space}")
        return Place(space, offset, binding)

    def window(self, data: object) -> Window:
        dtype = self.text(data, "dtype", tuple(DTYPES))
        shape = self.shape(data, dtype)
        spatial = len(shape) - 2
        if not 1 <= spatial <= 3 or math.prod(shape) == 0:
            raise self.fail("a window is not over [N, spatial.., C]")
        try:
            fill = float(self.text(data, "fill"))
        except ValueError:
            raise self.fail("fill is not a number") from None
        kernel = self.numbers(data, "kernel", 1, 1 << 16, spatial)
        strides, dilations = (self.numbers(data, key, 1, 1 << 16, spatial) for key in ("strides", "dilations"))
        pads = self.numbers(data, "pads", 0, 1 << 16, 2 * spatial)
        place = self.place(data, math.prod(shape) * dtype_of(dtype).itemsize)
        window = Window(place, dtype, shape, kernel, strides, pads, dilations, fill)
        if min(window.output()) < 1:
            raise self.fail("a window has no output")
        return window

    def table(self, data: object) -> Table:
        rows = self.number(data, "rows", 1, 1024)
        if isinstance(data, dict) and "window" in data:
            window = self.windows[self.number(data, "window", 0, len(self.windows) - 1)]
            self.entries(window.shape[0] * math.prod(window.output()) + rows, math.prod(window.kernel))
            return Table(rows, window)
        dtype = self.text(data, "dtype", tuple(DTYPES))
        shape = self.shape(data, dtype)
        if len(shape) != 3:
            raise self.fail("a table is not over [M, T, K]")
        self.entries(shape[0] + rows, shape[1])
        place = self.place(data, math.prod(shape) * dtype_of(dtype).itemsize)
        return Table(rows, None, place, dtype, shape)

    def entries(self, pixels: int, taps: int) -> None:
        if pixels * taps > 1 << 31:
            raise self.fail("a pointer table is too large")

    def tensor_map(self, data: object) -> TensorMap:
        dtype = self.text(data, "dtype", _MAP_DTYPES)
        item = 4 if dtype not in DTYPES else dtype_of(dtype).itemsize
        shape = self.numbers(data, "shape", 1, 1 << 32)
        rank = len(shape)
        if not 1 <= rank <= 5:
            raise self.fail("a tensor map has rank 1 to 5")
        strides = self.numbers(data, "strides", 0, 1 << 40, rank)
        span = (1 + sum((n - 1) * s for n, s in zip(shape, strides))) * item
        tiled = self.text(data, "kind", ("tiled", "im2col")) == "tiled"
        corners = [self.numbers(data, key, -(1 << 15), 1 << 15, 0 if tiled else rank - 2) for key in ("lower", "upper")]
        return TensorMap(
            kind="tiled" if tiled else "im2col",
            place=self.place(data, span),
            dtype=dtype,
            shape=shape,
            strides=strides,
            box=self.numbers(data, "box", 1, 1024, rank if tiled else 2),
            element_strides=self.numbers(data, "element_strides", 1, 8, rank),
            lower=corners[0],
            upper=corners[1],
            swizzle=self.number(data, "swizzle", 0, 128),
            l2=self.number(data, "l2", 0, 256),
        )

    def launch(self, data: object, target: str, kernels: int, counts: dict[str, int]) -> Launch:
        kernel = self.number(data, "kernel", 0, kernels - 1)
        arguments = self.items(data, "arguments", lambda item: self.argument(item, counts))
        names = self.items(data, "names", lambda item: self.text({"name": item}, "name"))
        if target == "cpu":
            tiles, grain = self.number(data, "tiles", 0, 1 << 40), self.number(data, "grain", 1, 1 << 40)
            return Launch(kernel, arguments, names, tiles=tiles, grain=grain)
        pdl = self.get(data, "pdl")
        if not isinstance(pdl, bool):
            raise self.fail("pdl is not true or false")
        return Launch(
            kernel,
            arguments,
            names,
            grid=self.numbers(data, "grid", 1, (1 << 31) - 1, 3),
            block=self.numbers(data, "block", 1, 1024, 3),
            shared=self.number(data, "shared", 0, 1 << 20),
            pdl=pdl,
        )

    def argument(self, data: object, counts: dict[str, int]) -> Argument:
        kind = self.text(data, "kind", ("pointer", "tensor_map", "table", *VALUE_KINDS))
        if kind == "pointer":
            return Argument(kind, self.place(data, 0))
        if kind in counts:
            return Argument(kind, index=self.number(data, "index", 0, counts[kind] - 1))
        if kind.startswith("i"):
            bound = 1 << (int(kind[1:]) - 1) if kind != "i1" else 1
            return Argument(kind, value=self.number(data, "value", -bound, 2 * bound - 1))
        value = self.get(data, "value")
        if type(value) not in (int, float):
            raise self.fail("an argument's value is not a number")
        return Argument(kind, value=float(value))

    def copy(self, data: object) -> Copy:
        size = self.number(data, "bytes")
        return Copy(self.place(data, size, "source"), self.place(data, size, "target"), size)
