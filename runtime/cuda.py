"""The CUDA backend: module, constants and tensor maps on the device; launches captured once per context into a CUDA
graph."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from stepwell.runtime.arguments import (
    check_inputs,
    fill_rows,
    find_binding,
    launch_name,
    named_inputs,
    table_addresses,
)
from stepwell.runtime.cuda_arguments import Parameters, device_address
from stepwell.runtime.cuda_driver import call, check_device, driver, encode_tensor_map, failure
from stepwell.runtime.errors import PlanError, StepwellError, UsageError
from stepwell.runtime.plan_file import Section
from stepwell.runtime.program import Place, dtype_of
from stepwell.runtime.program_reader import read_program

PROFILE_LAUNCHES = 20

CAPTURE = threading.Lock()
"""Held while a stream is captured and while the device is synchronised: the second voids every capture under way in the
process."""


class CudaModule:
    """A loaded CUDA section: code and constants on the device, shared by all contexts."""

    def __init__(self, section: Section) -> None:
        self.program = read_program(section.program, f"{section.name}/program.json")
        self._device = check_device(self.program.target)
        self._users = 1
        self.primary = call("cuDevicePrimaryCtxRetain", self._device.handle)
        call("cuCtxSetCurrent", self.primary)
        self.code_kind, self._module = _load_code(section)
        self._shared = self._most_shared()
        self.functions = [self._function(index, name) for index, name in enumerate(self.program.kernels)]
        constants = np.frombuffer(section.constants, np.uint8)
        if constants.nbytes < self.program.constants:
            raise PlanError(f"section {section.name} holds {constants.nbytes} bytes of constants, fewer than it needs")
        self.constants = call("cuMemAlloc", max(256, constants.nbytes))
        if constants.nbytes:
            call("cuMemcpyHtoD", self.constants, constants.ctypes.data, constants.nbytes)
        with CAPTURE:
            call("cuCtxSynchronize")

    @property
    def device(self) -> str:
        """What it runs on."""
        return f"{self._device.name} ({self.program.target}, {self.code_kind})"

    def _most_shared(self) -> list[int]:
        most = [0] * len(self.program.kernels)
        for launch in self.program.launches:
            most[launch.kernel] = max(most[launch.kernel], launch.shared)
        return most

    def _function(self, index: int, name: str) -> Any:
        """A kernel, allowed as much dynamic shared memory as its launches ask for."""
        try:
            function = call("cuModuleGetFunction", self._module, name.encode())
        except StepwellError as error:
            raise PlanError(f"the code has no kernel {name}: {error}", hint="compile the plan again") from None
        attribute = driver().CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        if self._shared[index]:
            call("cuFuncSetAttribute", function, attribute, self._shared[index])
        return function

    def create_context(self, threads: int | None = None) -> CudaContext:
        """Take all device memory of one execution; `threads` means nothing here."""
        return CudaContext(self)

    def retain(self) -> None:
        """One more user: the module stays loaded until all have released it."""
        self._users += 1

    def close(self) -> None:
        """One user less; the last one unloads code and constants."""
        self._users -= 1
        if self._users:
            return
        call("cuCtxSetCurrent", self.primary)
        call("cuMemFree", self.constants)
        call("cuModuleUnload", self._module)
        call("cuDevicePrimaryCtxRelease", self._device.handle)


def _load_code(section: Section) -> tuple[str, Any]:
    """Load the cubin, or the PTX where there is none or the driver does not take it; PlanError with what the driver
    says."""
    refused = ""
    if "cubin" in section.code:
        code, module = driver().cuModuleLoadData(bytes(section.code["cubin"]))
        if code == driver().CUresult.CUDA_SUCCESS:
            return "cubin", module
        refused = f"the cubin is refused ({code.name}); "
    if "ptx" not in section.code:
        raise PlanError(f"{refused}section {section.name} holds no PTX", hint="compile the plan again")
    text = bytes(section.code["ptx"]) + b"\0"
    code, module = driver().cuModuleLoadData(text)
    if code == driver().CUresult.CUDA_SUCCESS:
        return "ptx", module
    raise PlanError(
        f"{refused}{failure('cuModuleLoadData', code)}{_compiler_log(text)}", where=f"{section.name}/code.ptx"
    )


def _compiler_log(text: bytes) -> str:
    """What the driver's compiler says about PTX that it refused."""
    log, option = bytearray(4096), driver().CUjit_option
    keys = [option.CU_JIT_ERROR_LOG_BUFFER, option.CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES]
    driver().cuModuleLoadDataEx(text, len(keys), keys, [log, len(log)])
    said = log.split(b"\0")[0].decode(errors="replace").strip()
    return f"\n{said}" if said else ""


class CudaContext:
    """One execution at a time: an arena, binding buffers, tensor maps, tables and the captured graph, all allocated
    here."""

    def __init__(self, module: CudaModule) -> None:
        self.module, self.program = module, module.program
        module.retain()
        call("cuCtxSetCurrent", module.primary)
        self._lock = threading.Lock()
        self._closed = False
        self._memory: list[Any] = []
        self._stream = call("cuStreamCreate", int(driver().CUstream_flags.CU_STREAM_NON_BLOCKING))
        self._arena = self._allocate(self.program.arena)
        self._own = [self._allocate(binding.bytes) for binding in self.program.bindings]
        self._bound: dict[int, tuple[int, object]] = {}
        rows, self._fill_offsets = fill_rows(self.program)
        self._fill = self._upload(rows)
        self._tables: list[int] = []
        self._parameters: list[Parameters] = []
        self._graph: Any = None
        self._table_memory: list[Any] = []

    # memory

    def _allocate(self, size: int) -> int:
        memory = call("cuMemAlloc", max(256, size))
        self._memory.append(memory)
        return int(memory)

    def _upload(self, contents: bytes) -> int:
        address = self._allocate(len(contents))
        if contents:
            held = np.frombuffer(contents, np.uint8)
            call("cuMemcpyHtoD", address, held.ctypes.data, len(contents))
        return address

    def _binding_address(self, index: int) -> int:
        return self._bound[index][0] if index in self._bound else self._own[index]

    def _address(self, place: Place) -> int:
        if place.space == "binding":
            return self._binding_address(place.binding) + place.offset
        return (self._arena if place.space == "arena" else int(self.module.constants)) + place.offset

    # launches

    def _prepare(self) -> None:
        """Build tables, parameters and the graph for the current binding addresses; nothing is done when they did not
        change."""
        if self._graph is not None:
            return
        for index, table in enumerate(self.program.tables):
            fill = self._fill + self._fill_offsets[index]
            entries = table_addresses(table, self._address, fill)
            if len(self._tables) <= index:
                self._tables.append(self._allocate(entries.nbytes))
            call("cuMemcpyHtoD", self._tables[index], entries.ctypes.data, entries.nbytes)
        maps = [encode_tensor_map(spec, self._address(spec.place)) for spec in self.program.tensor_maps]
        self._parameters = [Parameters(launch, self._address, maps, self._tables) for launch in self.program.launches]
        with CAPTURE:
            call("cuCtxSynchronize")  # uploads from pageable memory may be on their way to a stream that does not wait
            self._graph = self._capture(self._record_program)

    def _record_program(self) -> None:
        """All launches and copies of one execution."""
        for number in range(len(self.program.launches)):
            self._launch(number)
        for copy in self.program.copies:
            source, target = self._address(copy.source), self._address(copy.target)
            call("cuMemcpyDtoDAsync", target, source, copy.bytes, self._stream)

    def _capture(self, record: Callable[[], None]) -> Any:
        """An executable CUDA graph of the work that `record` puts on the context's stream. `CAPTURE` is held."""
        mode = driver().CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        try:
            call("cuStreamBeginCapture", self._stream, mode)
            record()
            graph = call("cuStreamEndCapture", self._stream)
        except BaseException:  # Ctrl-C too: a stream that goes on capturing executes nothing any more
            driver().cuStreamEndCapture(self._stream)  # the capture is void: the first error is the one to tell
            raise
        executable = call("cuGraphInstantiate", graph, 0)
        call("cuGraphDestroy", graph)
        return executable

    def _launch(self, number: int, overlap: bool = True) -> None:
        """Launch one kernel on the context's stream; `overlap` allows programmatic dependent launch where the plan asks
        for it."""
        launch, bindings = self.program.launches[number], driver()
        config = bindings.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = launch.grid
        config.blockDimX, config.blockDimY, config.blockDimZ = launch.block
        config.sharedMemBytes, config.hStream = launch.shared, self._stream
        if launch.pdl and overlap:
            attribute, value = bindings.CUlaunchAttribute(), bindings.CUlaunchAttributeValue()
            attribute.id = bindings.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
            value.programmaticStreamSerializationAllowed = 1
            attribute.value = value
            config.attrs, config.numAttrs = [attribute], 1
        call("cuLaunchKernelEx", config, self.module.functions[launch.kernel], self._parameters[number].address, 0)

    # what users call

    def bind(self, name: str, memory: Any) -> None:
        """Use the caller's device memory for a binding from the next run on: an address, or an array with
        `__cuda_array_interface__` (contiguous, the binding's type and shape). It must stay alive."""
        index = find_binding(self.program, name)
        address = memory if isinstance(memory, int) else device_address(self.program.bindings[index], memory)
        if address % 16:
            raise UsageError(f"the memory bound to {name} is not aligned to 16 bytes", where=name)
        with self._turn():
            self._bound[index] = (address, memory)
            self._drop_graph()

    def run(self, inputs: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Copy inputs to the device, execute, copy the outputs that are not bound back."""
        given = named_inputs(inputs)
        on_device = {k: v for k, v in given.items() if hasattr(v, "__cuda_array_interface__")}
        sources = {find_binding(self.program, name): value for name, value in on_device.items()}
        host = {name: value for name, value in given.items() if name not in on_device}
        with self._turn():
            arrays = check_inputs(self.program, host, set(self._bound) | set(sources))
            held = {index: np.ascontiguousarray(array) for index, array in arrays.items()}
            self._prepare()
            for index, array in held.items():
                call("cuMemcpyHtoDAsync", self._own[index], array.ctypes.data, array.nbytes, self._stream)
            if sources:
                with CAPTURE:
                    call("cuCtxSynchronize")  # whoever made them may have used another stream
            for index, value in sources.items():
                source, size = device_address(self.program.bindings[index], value), self.program.bindings[index].bytes
                call("cuMemcpyDtoDAsync", self._binding_address(index), source, size, self._stream)
            call("cuGraphLaunch", self._graph, self._stream)
            outputs = {
                b.name: (np.empty(b.shape, dtype_of(b.dtype)), self._own[index])
                for index, b in enumerate(self.program.bindings)
                if not b.is_input and index not in self._bound
            }
            for array, address in outputs.values():
                call("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, self._stream)
            call("cuStreamSynchronize", self._stream)
            return {name: array for name, (array, _) in outputs.items()}

    def enqueue(self, stream: int = 0) -> None:
        """Launch the graph on `stream` (a CUstream handle) and return at once. Inputs that are not bound keep their
        last values.

        The first call after `create_context` or `bind` captures the graph; later ones allocate nothing and may be
        captured."""
        with self._turn():
            self._prepare()
            call("cuGraphLaunch", self._graph, driver().CUstream(stream))

    def measure(self, repeat: int = 20) -> list[float]:
        """Seconds of single executions on what the bindings hold, by events around the graph, copies not counted."""
        with self._turn():
            self._prepare()
            return [self._timed(lambda: call("cuGraphLaunch", self._graph, self._stream)) for _ in range(repeat)]

    def profile(self, repeat: int = 10) -> list[tuple[str, float]]:
        """(name, median seconds) of each launch, alone: events around a CUDA graph of several of it without overlap."""
        with self._turn():
            self._prepare()
            return [
                (launch_name(self.program, number), self._time_launch(number, repeat))
                for number in range(len(self.program.launches))
            ]

    def _time_launch(self, number: int, repeat: int) -> float:
        def several() -> None:
            for _ in range(PROFILE_LAUNCHES):
                self._launch(number, overlap=False)

        with CAPTURE:
            graph = self._capture(several)
        try:
            work = partial(call, "cuGraphLaunch", graph, self._stream)
            self._timed(work)
            return statistics.median(self._timed(work) for _ in range(repeat)) / PROFILE_LAUNCHES
        finally:
            call("cuGraphExecDestroy", graph)

    def _timed(self, work: Callable[[], None]) -> float:
        begin, end = call("cuEventCreate", 0), call("cuEventCreate", 0)
        try:
            call("cuEventRecord", begin, self._stream)
            work()
            call("cuEventRecord", end, self._stream)
            call("cuEventSynchronize", end)
            return float(call("cuEventElapsedTime", begin, end)) / 1e3
        finally:
            call("cuEventDestroy", begin)
            call("cuEventDestroy", end)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One thread at a time, with the device's context current in it."""
        if self._lock.locked():
            raise UsageError("this context is running in another thread", hint="create one context per thread")
        with self._lock:  # unlike `acquire`, not left locked by Ctrl-C; who comes in the same instant waits
            if self._closed:
                raise UsageError("this context is closed")
            call("cuCtxSetCurrent", self.module.primary)
            with self._settled():
                yield

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """After an error, Ctrl-C too, wait for what was begun: it may use memory that goes away now."""
        try:
            yield
        except BaseException:
            driver().cuStreamSynchronize(self._stream)
            raise

    def _drop_graph(self) -> None:
        if self._graph is not None:
            call("cuStreamSynchronize", self._stream)
            call("cuGraphExecDestroy", self._graph)
            self._graph = None

    def close(self) -> None:
        """Give back everything on the device. The context cannot be used afterwards."""
        with self._turn():
            self._closed = True
            self._drop_graph()
            call("cuStreamDestroy", self._stream)
            for memory in self._memory:
                call("cuMemFree", memory)
            self._memory.clear()
        self.module.close()
