"""Record the outputs of the golden kernels on a GPU: `python tests/gpu/record_golden.py FILE.npz`. Needs NumPy, cuda-bindings and an sm_90 device.

Each kernel runs three times; outputs that differ between runs, and launches that fail, are named and left out, and the exit code is 1. One compressed file holds an array of
words for each kernel and what recorded it. `tests/codegen/ptx_interpreter/test_golden.py` replays it.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from stepwell.runtime.cuda_driver import call, driver, encode_tensor_map
from stepwell.runtime.errors import StepwellError
from stepwell.runtime.program import TensorMap
from stepwell.testing.golden import Golden, everything

RUNS = 3


def device_name() -> str:
    """The device that is used, with its driver; a context is made current."""
    call("cuInit", 0)
    device = call("cuDeviceGet", 0)
    call("cuCtxSetCurrent", call("cuDevicePrimaryCtxRetain", device))
    name = call("cuDeviceGetName", 128, device)
    return f"{bytes(name).split(bytes(1))[0].decode()}, driver {call('cuDriverGetVersion')}"


class Launch:
    """One kernel with its memory on the device."""

    def __init__(self, golden: Golden) -> None:
        self.golden, self.memory, self.values = golden, list[Any](), list[Any]()
        self.module = call("cuModuleLoadData", golden.ptx.encode() + b"\0")
        self.function = call("cuModuleGetFunction", self.module, b"golden")
        attribute = driver().CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        call("cuFuncSetAttribute", self.function, attribute, golden.shared)
        for argument in golden.arguments:
            self.values.append(self._value(argument))
        self.output = self._allocate(np.zeros(golden.output, np.uint8))
        self.values.append(ctypes.c_uint64(self.output))

    def _allocate(self, array: np.ndarray) -> int:
        held = np.ascontiguousarray(array).view(np.uint8)
        self.memory.append(call("cuMemAlloc", held.nbytes))
        call("cuMemcpyHtoD", self.memory[-1], held.ctypes.data, held.nbytes)
        return int(self.memory[-1])

    def _value(self, argument: np.ndarray | TensorMap | int) -> Any:
        if isinstance(argument, np.ndarray):
            return ctypes.c_uint64(self._allocate(argument))
        if isinstance(argument, TensorMap):
            return self._map(argument)
        return ctypes.c_uint64(argument) if argument >> 32 else ctypes.c_uint32(argument)

    def _map(self, spec: TensorMap) -> Any:
        """The 128 bytes of a map over the first buffer, aligned to 64."""
        descriptor = encode_tensor_map(spec, int(self.memory[0]))
        held = (ctypes.c_char * 192)()
        start = -ctypes.addressof(held) % 64
        ctypes.memmove(ctypes.addressof(held) + start, int(descriptor.getPtr()), 128)
        return (ctypes.c_char * 128).from_buffer(held, start)

    def run(self) -> np.ndarray:
        """The output's words."""
        call("cuMemsetD8", self.output, 0xA5, self.golden.output)
        pointers = (ctypes.c_void_p * len(self.values))(*[ctypes.addressof(value) for value in self.values])
        call(
            "cuLaunchKernel", self.function, 1, 1, 1, 128, 1, 1, self.golden.shared, 0, ctypes.addressof(pointers), 0
        )  # fmt: skip
        call("cuCtxSynchronize")
        result = np.empty(self.golden.output, np.uint8)
        call("cuMemcpyDtoH", result.ctypes.data, self.output, result.nbytes)
        return result.view(np.uint32)

    def close(self) -> None:
        """Give everything back."""
        for memory in self.memory:
            call("cuMemFree", memory)
        call("cuModuleUnload", self.module)


def record(golden: Golden) -> np.ndarray:
    """The output, the same in every run; StepwellError otherwise."""
    launch = Launch(golden)
    results = [launch.run() for _ in range(RUNS)]
    launch.close()
    if any(not np.array_equal(results[0], other) for other in results[1:]):
        raise StepwellError("the runs differ")
    return results[0]


def main() -> int:
    """Record all, or those whose names contain a word of `--only`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    name = device_name()
    chosen = [g for g in everything() if not options.only or any(w in g.name for w in options.only)]
    recorded: dict[str, np.ndarray] = {"recorded_on": np.array(name)}
    failed = []
    for golden in chosen:
        try:
            recorded[golden.name] = record(golden)
        except (StepwellError, RuntimeError, ValueError, TypeError) as error:  # the others are worth having
            failed.append(golden.name)
            print(f"{golden.name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
    np.savez_compressed(options.file, allow_pickle=False, **recorded)
    size = options.file.stat().st_size
    print(
        f"{len(chosen) - len(failed)} of {len(chosen)} recorded on {name}: {size} bytes; failed: {', '.join(failed) or 'none'}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
