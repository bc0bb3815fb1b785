"""What both backends share: checks of what users pass in, aligned memory, and the address tables of windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np

from stepwell.runtime.errors import UsageError
from stepwell.runtime.program import Binding, Place, Program, Table, dtype_of

Addresses = Callable[[Place], int]
SLACK = 256
"""Bytes behind every buffer: vector loads at the end of a row may read beyond it."""


def aligned(size: int, alignment: int = 256) -> np.ndarray:
    """`size` zero bytes (and some slack) whose address is a multiple of `alignment`."""
    memory = np.zeros(size + alignment + SLACK, np.uint8)
    shift = -memory.ctypes.data % alignment
    return memory[shift : shift + size]


def describe(binding: Binding) -> str:
    """Name, type and shape, for messages."""
    return (
        f'{"input" if binding.is_input else "output"} "{binding.name}" ({dtype_of(binding.dtype)}{list(binding.shape)})'
    )


def find_binding(program: Program, name: str) -> int:
    """The index of a binding; UsageError lists the names that exist."""
    for index, binding in enumerate(program.bindings):
        if binding.name == name:
            return index
    listed = ", ".join(describe(binding) for binding in program.bindings)
    raise UsageError(f'there is no binding "{name}"', hint=f"the plan has {listed}")


def check_kind(binding: Binding, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """UsageError, naming the binding and both sides, unless type and shape are exactly the binding's."""
    expected = dtype_of(binding.dtype)
    if dtype != expected:
        hint = f'pass array.astype("{expected}")'
        raise UsageError(f"{describe(binding)} got elements of type {dtype}", where=binding.name, hint=hint)
    if tuple(shape) != binding.shape:
        hint = "shapes are fixed when a plan is compiled"
        raise UsageError(f"{describe(binding)} got shape {list(shape)}", where=binding.name, hint=hint)


def check_array(binding: Binding, value: Any) -> np.ndarray:
    """`value` (NumPy, DLPack or anything that NumPy takes) as an array of exactly the binding's type and shape."""
    array = as_array(value, binding.name)
    check_kind(binding, array.dtype, array.shape)
    return array


def named_inputs(inputs: Any) -> Mapping[str, Any]:
    """What a caller passed as inputs, when it is a mapping or nothing at all; a UsageError for a list or an array."""
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        hint = 'pass a dictionary: run({"name": array})'
        raise UsageError(f"inputs are given by name, not as {type(inputs).__name__}", hint=hint)
    return inputs


def as_array(value: Any, name: str) -> np.ndarray:
    """`value` (NumPy, DLPack or anything that NumPy takes) as an array; a UsageError for ragged lists and memory of another device."""
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.from_dlpack(value) if hasattr(value, "__dlpack__") else np.asarray(value)
    except (ValueError, TypeError, BufferError, RuntimeError) as error:
        raise UsageError(f"this is no array: {error}", where=name) from None


def check_inputs(program: Program, inputs: Mapping[str, Any], bound: Container[int]) -> dict[int, np.ndarray]:
    """Arrays by binding index for `run`: every input is there unless it is bound, nothing unknown, nothing that is an
    output."""
    checked: dict[int, np.ndarray] = {}
    for name, value in inputs.items():
        index = find_binding(program, name)
        if not program.bindings[index].is_input:
            raise UsageError(f'"{name}" is an output: outputs are returned', where=name)
        if index in bound:
            raise UsageError(
                f'"{name}" is bound to memory of the caller', where=name, hint="write into that memory instead"
            )
        checked[index] = check_array(program.bindings[index], value)
    for index, binding in enumerate(program.bindings):
        if binding.is_input and index not in checked and index not in bound:
            raise UsageError(f"{describe(binding)} is missing", where=binding.name, hint="pass it to run, or bind it")
    return checked


def fill_rows(program: Program) -> tuple[bytes, dict[int, int]]:
    """The rows that padded pixels point at: their bytes, and for each table the offset of its row."""
    contents, offsets, known = bytearray(), {}, dict[bytes, int]()
    for index, table in enumerate(program.tables):
        dtype, channels, fill = dtype_of(table.dtype), (table.shape or (0,))[-1], 0.0
        if table.window is not None:
            dtype, channels, fill = dtype_of(table.window.dtype), table.window.shape[-1], table.window.fill
        with np.errstate(all="ignore"):
            row = np.full(channels + SLACK // dtype.itemsize, fill).astype(dtype).tobytes()
        if row not in known:
            known[row] = len(contents)
            contents += row + bytes(-len(row) % 256)
        offsets[index] = known[row]
    return bytes(contents), offsets


def table_addresses(table: Table, address: Addresses, fill: int) -> np.ndarray:
    """The 64-bit addresses of a pointer table, [ceil(M / rows), T, rows]; `fill` is the address of its fill row."""
    if table.window is None:
        assert table.place is not None
        pixels, taps, channels = table.shape
        linear = np.arange(pixels * taps).reshape(pixels, taps)
        inside = np.ones_like(linear, bool)
        base, row = address(table.place), channels * dtype_of(table.dtype).itemsize
    else:
        window = table.window
        linear, inside = _window_rows(
            window.shape, window.output(), window.kernel, window.strides, window.pads, window.dilations
        )
        pixels, taps = linear.shape
        base, row = address(window.place), window.shape[-1] * dtype_of(window.dtype).itemsize
    blocks = -(-pixels // table.rows)
    found = np.full((blocks * table.rows, taps), fill, np.int64)
    found[:pixels] = np.where(inside, base + linear * row, fill)
    return np.ascontiguousarray(found.reshape(blocks, table.rows, taps).transpose(0, 2, 1))


def table_bytes(table: Table) -> int:
    """What a pointer table takes in memory."""
    pixels, taps = table.shape[:2] if table.window is None else table.window.extents()
    return -(-pixels // table.rows) * table.rows * taps * 8


def _window_rows(
    shape: tuple[int, ...],
    output: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """For each (pixel, tap): the number of the source row, and whether it is inside."""
    image, *pixel = np.unravel_index(np.arange(shape[0] * math.prod(output)), (shape[0], *output))
    tap = np.unravel_index(np.arange(math.prod(kernel)), kernel)
    linear = np.repeat(image[:, None], math.prod(kernel), axis=1)
    inside = np.ones_like(linear, bool)
    for d, extent in enumerate(shape[1:-1]):
        at = pixel[d][:, None] * strides[d] - pads[d] + tap[d][None, :] * dilations[d]
        inside &= (at >= 0) & (at < extent)
        linear = linear * extent + at
    return linear, inside


def launch_name(program: Program, index: int) -> str:
    """What a profile calls a launch: its source names, else its kernel."""
    launch = program.launches[index]
    return " + ".join(launch.names) or program.kernels[launch.kernel]
