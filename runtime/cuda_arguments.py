"""What a CUDA launch takes: parameters as the driver wants them, and device memory that users bind."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stepwell.runtime.arguments import check_kind, describe
from stepwell.runtime.cuda_driver import TENSOR_MAP_BYTES
from stepwell.runtime.errors import UsageError
from stepwell.runtime.program import Argument, Launch, Place, dtype_of

_VALUES: Mapping[str, type[Any]] = {
    "i1": ctypes.c_bool, "i8": ctypes.c_int8, "i16": ctypes.c_int16, "i32": ctypes.c_int32, "i64": ctypes.c_int64,
    "f32": ctypes.c_float, "f64": ctypes.c_double,
}  # fmt: skip


def device_address(binding: Any, memory: Any) -> int:
    """The address in an object with `__cuda_array_interface__` that fits the binding."""
    interface = getattr(memory, "__cuda_array_interface__", None)
    if not isinstance(interface, dict):
        hint = "pass an address, or an array on the device (torch, cupy); host arrays go to run()"
        raise UsageError(f"{describe(binding)} is bound to a {type(memory).__name__}", where=binding.name, hint=hint)
    check_kind(binding, np.dtype(interface["typestr"]), tuple(interface["shape"]))
    if interface.get("strides") is not None:
        strides = tuple(np.empty(binding.shape, dtype_of(binding.dtype)).strides)
        if tuple(interface["strides"]) != strides:
            raise UsageError(f"{describe(binding)} is bound to memory that is not contiguous", where=binding.name)
    return int(interface["data"][0])


class Parameters:
    """The parameters of one launch as the driver wants them: an array of pointers to values, tensor maps aligned to 64
    bytes."""

    def __init__(self, launch: Launch, address: Callable[[Place], int], maps: list[Any], tables: list[int]) -> None:
        self._held: list[Any] = []
        pointers = [self._pointer(argument, address, maps, tables) for argument in launch.arguments]
        self._array = (ctypes.c_void_p * max(1, len(pointers)))(*pointers)
        self.address = ctypes.addressof(self._array)

    def _pointer(self, argument: Argument, address: Callable[[Place], int], maps: list[Any], tables: list[int]) -> int:
        if argument.kind == "tensor_map":
            return self._tensor_map(maps[argument.index])
        if argument.place is not None:
            value: Any = ctypes.c_uint64(address(argument.place))
        elif argument.kind == "table":
            value = ctypes.c_uint64(tables[argument.index])
        else:
            value = _VALUES[argument.kind](argument.value)
        self._held.append(value)
        return ctypes.addressof(value)

    def _tensor_map(self, descriptor: Any) -> int:
        memory = (ctypes.c_char * (TENSOR_MAP_BYTES + 64))()
        start = -(-ctypes.addressof(memory) // 64) * 64
        ctypes.memmove(start, int(descriptor.getPtr()), TENSOR_MAP_BYTES)
        self._held.append(memory)
        return start
