"""The CUDA driver through cuda.bindings: loading it, checking every return code, device capabilities, tensor maps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from stepwell.runtime.errors import InternalError, MemoryLimitError, PlanError, StepwellError
from stepwell.runtime.program import TensorMap, dtype_of
from stepwell.types.elements import ELEMENTS

TENSOR_MAP_BYTES = 128
_MAP_TYPES = {
    **{row.name: row.tensor_map for row in ELEMENTS.values() if row.tensor_map},
    "f32_ftz": "FLOAT32_FTZ",
    "tf32": "TFLOAT32",
    "tf32_ftz": "TFLOAT32_FTZ",
}
"""Names of CUtensorMapDataType: those of the elements, and the ways to read f32."""


@cache
def driver() -> Any:
    """The module `cuda.bindings.driver`, initialised; PlanError where there is no package, no driver or no device."""
    hint = "a plan's cpu section runs here; compiling for a GPU needs none: name its architecture, sm_90a"
    try:
        from cuda.bindings import driver as bindings
    except ImportError:
        raise PlanError("cuda.bindings is not installed", hint="pip install cuda-bindings") from None
    try:
        (code,) = bindings.cuInit(0)
    except (RuntimeError, OSError) as error:  # the driver's library is missing or too old
        raise PlanError(f"the CUDA driver cannot be loaded: {str(error).splitlines()[0]}", hint=hint) from None
    if code != bindings.CUresult.CUDA_SUCCESS:
        raise PlanError(f"there is no CUDA device ({code.name})", hint=hint)
    return bindings


def call(name: str, *arguments: Any) -> Any:
    """Call a driver function and return what it gives besides the code; a code that is not success is an error that
    names it."""
    bindings = driver()
    code, *values = getattr(bindings, name)(*arguments)
    if code != bindings.CUresult.CUDA_SUCCESS:
        raise failure(name, code)
    return None if not values else values[0] if len(values) == 1 else tuple(values)


def failure(name: str, code: Any) -> StepwellError:
    """The error for a return code."""
    _, text = driver().cuGetErrorString(code)
    said = text.decode() if isinstance(text, bytes) else str(text)
    if code == driver().CUresult.CUDA_ERROR_OUT_OF_MEMORY:
        return MemoryLimitError(f"{name}: {said}", where="cuda", hint="a smaller batch, or free memory on the device")
    return InternalError(f"{name}: {code.name}: {said}", where="cuda")


@dataclass(frozen=True)
class Device:
    """One GPU."""

    handle: Any
    name: str
    capability: tuple[int, int]


@cache
def device(ordinal: int = 0) -> Device:
    """The GPU with this ordinal (CUDA_VISIBLE_DEVICES applies)."""
    bindings = driver()
    if call("cuDeviceGetCount") <= ordinal:
        raise PlanError(f"there is no CUDA device {ordinal}")
    handle = call("cuDeviceGet", ordinal)
    attribute = bindings.CUdevice_attribute
    major = call("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, handle)
    minor = call("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, handle)
    name = call("cuDeviceGetName", 256, handle)
    return Device(handle, name.partition(b"\0")[0].decode(errors="replace"), (int(major), int(minor)))


def check_device(target: str) -> Device:
    """The GPU, if code for `target` (sm_80, sm_90a, ...) runs on it: `a` code on its architecture only, other PTX on
    later ones."""
    match = re.fullmatch(r"sm_(\d+)(\d)(a?)", target)
    if match is None:
        raise PlanError(f'the code is for "{target}", which this runtime does not know', hint="upgrade stepwell")
    found = device()
    needed, only = (int(match[1]), int(match[2])), bool(match[3])
    if found.capability != needed and (only or found.capability < needed):
        capability = ".".join(map(str, found.capability))
        raise PlanError(f"{found.name} (compute capability {capability}) does not run {target} code")
    return found


def encode_tensor_map(spec: TensorMap, address: int) -> Any:
    """The driver's descriptor for `spec` at `address`; the driver wants lists innermost dimension first."""
    bindings = driver()
    item = 4 if "f32" in spec.dtype else dtype_of(spec.dtype).itemsize
    u64, u32 = bindings.cuuint64_t, bindings.cuuint32_t
    dims = [u64(extent) for extent in reversed(spec.shape)]
    strides = [u64(stride * item) for stride in reversed(spec.strides[:-1])]
    element_strides = [u32(stride) for stride in reversed(spec.element_strides)]
    begin = (_enum("CUtensorMapDataType", "DATA_TYPE", _MAP_TYPES[spec.dtype]), len(dims), address, dims, strides)
    end = (
        element_strides,
        _enum("CUtensorMapInterleave", "INTERLEAVE", "NONE"),
        _enum("CUtensorMapSwizzle", "SWIZZLE", f"{spec.swizzle}B" if spec.swizzle else "NONE"),
        _enum("CUtensorMapL2promotion", "L2_PROMOTION", f"L2_{spec.l2}B" if spec.l2 else "NONE"),
        _enum("CUtensorMapFloatOOBfill", "FLOAT_OOB_FILL", "NONE"),
    )
    if spec.kind == "tiled":
        return call("cuTensorMapEncodeTiled", *begin, [u32(extent) for extent in reversed(spec.box)], *end)
    pixels, channels = spec.box
    corners = (_reversed(spec.lower), _reversed(spec.upper))
    return call("cuTensorMapEncodeIm2col", *begin, *corners, channels, pixels, *end)


def _enum(kind: str, group: str, value: str) -> Any:
    return getattr(getattr(driver(), kind), f"CU_TENSOR_MAP_{group}_{value}")


def _reversed(values: Sequence[int]) -> list[int]:
    return list(reversed(values))
