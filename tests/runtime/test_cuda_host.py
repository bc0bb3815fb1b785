"""The host side of the CUDA backend against a driver that is emulated in this process: device memory is host memory, a
graph is a list.

What a real device must show (code, tensor maps, overlap) is in tests/gpu.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tests.runtime.steps import STEP, interrupted

from stepwell.runtime import Engine, Plan, PlanError, Section, UsageError, cuda_driver
from stepwell.runtime.cuda import CudaContext
from stepwell.runtime.cuda_arguments import Parameters
from stepwell.runtime.errors import InternalError, MemoryLimitError
from stepwell.runtime.program import Argument, Launch, Place, TensorMap

real = pytest.importorskip("cuda.bindings.driver")
OK = real.CUresult.CUDA_SUCCESS
X = np.arange(100, dtype=np.float32)


class FakeDriver:
    """Functions of the driver API as far as the backend calls them; enums and structures are the real ones."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fail: dict[str, Any] = {}
        self.memory: dict[int, Any] = {}
        self.captured: list[Callable[[], object]] | None = None
        self.graphs: list[list[Callable[[], object]]] = []
        self.launches: list[tuple[str, Any]] = []
        self.maps: list[tuple[Any, ...]] = []
        self.capability = (9, 0)
        self.on_their_way = 0

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu") or name.startswith("cuuint"):
            return getattr(real, name)

        def function(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            if name in self.fail:
                return (self.fail[name], None)
            made = getattr(self, f"do_{name}", lambda *_: ())(*arguments)
            return (OK, *(made if isinstance(made, tuple) else (made,)))

        return function

    def _do(self, work: Callable[[], object]) -> tuple[()]:
        if self.captured is None:
            work()
        else:
            self.captured.append(work)
        return ()

    def do_cuGetErrorString(self, code: Any) -> bytes:
        return b"what happened"

    def do_cuDeviceGetCount(self) -> int:
        return 1

    def do_cuDeviceGet(self, ordinal: int) -> int:
        return ordinal

    def do_cuDeviceGetAttribute(self, attribute: Any, device: int) -> int:
        return self.capability["MAJOR" not in attribute.name]

    def do_cuDeviceGetName(self, length: int, device: int) -> bytes:
        return b"Emulated\0\0"

    def do_cuDevicePrimaryCtxRetain(self, device: int) -> int:
        return 7

    def do_cuModuleLoadData(self, image: bytes) -> int:
        return 11

    def do_cuModuleGetFunction(self, module: int, name: bytes) -> str:
        return name.decode()

    def do_cuMemAlloc(self, size: int) -> int:
        block = (ctypes.c_char * size)()
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def do_cuMemFree(self, address: int) -> tuple[()]:
        del self.memory[int(address)]
        return ()

    def do_cuMemcpyHtoD(self, target: int, source: int, size: int) -> tuple[()]:
        ctypes.memmove(int(target), source, size)
        return ()

    def do_cuMemcpyDtoDAsync(self, target: int, source: int, size: int, stream: Any) -> tuple[()]:
        return self._do(lambda: ctypes.memmove(int(target), int(source), size))

    def do_cuMemcpyHtoDAsync(self, target: int, source: int, size: int, stream: Any) -> tuple[()]:
        self.on_their_way += 1
        return self.do_cuMemcpyDtoDAsync(target, source, size, stream)

    do_cuMemcpyDtoHAsync = do_cuMemcpyHtoDAsync

    def do_cuStreamSynchronize(self, stream: Any) -> tuple[()]:
        self.on_their_way = 0
        return ()

    def do_cuStreamCreate(self, flags: int) -> int:
        return 5

    def do_cuStreamBeginCapture(self, stream: Any, mode: Any) -> tuple[()]:
        self.captured = []
        return ()

    def do_cuStreamEndCapture(self, stream: Any) -> int:
        if self.captured is None:
            return -1
        self.graphs.append(self.captured)
        self.captured = None
        return len(self.graphs) - 1

    def do_cuGraphInstantiate(self, graph: int, flags: int) -> int:
        return graph

    def do_cuGraphLaunch(self, graph: int, stream: Any) -> tuple[()]:
        for work in self.graphs[graph]:
            work()
        return ()

    def do_cuEventElapsedTime(self, begin: Any, end: Any) -> float:
        return 2.0

    def do_cuTensorMapEncodeTiled(self, *arguments: Any) -> Any:
        self.maps.append(arguments)
        return real.CUtensorMap()

    do_cuTensorMapEncodeIm2col = do_cuTensorMapEncodeTiled

    def do_cuLaunchKernelEx(self, config: Any, function: str, parameters: int, extra: int) -> tuple[()]:
        self.launches.append((function, config))
        pointers = (ctypes.c_int64 * 4).from_address(parameters)
        source, target = (ctypes.c_uint64.from_address(pointers[n]).value for n in (0, 1))
        count = ctypes.c_int32.from_address(pointers[2]).value
        factor = ctypes.c_float.from_address(pointers[3]).value

        def work() -> None:
            values = np.frombuffer(ctypes.string_at(source, (4 * count)), np.float32) * np.float32(factor)
            ctypes.memmove(target, values.astype(np.float32).tobytes(), 4 * count)

        return self._do(work)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    """The emulated driver in the place of the real one."""
    made = FakeDriver()
    cuda_driver.device.cache_clear()
    monkeypatch.setattr("stepwell.runtime.cuda_driver.driver", lambda: made)
    monkeypatch.setattr("stepwell.runtime.cuda.driver", lambda: made)
    yield made
    cuda_driver.device.cache_clear()


def place(space: str, binding: int = -1) -> dict[str, Any]:
    return {"space": space, "offset": 0, **({"binding": binding} if binding >= 0 else {})}


def plan(**code: bytes) -> Plan:
    """x -> 2x in the arena -> 6x (y); y is copied to z; w is a constant times 2."""

    def launch(source: dict[str, Any], target: dict[str, Any], factor: float) -> dict[str, Any]:
        pointers = [{"kind": "pointer", "place": place_} for place_ in (source, target)]
        arguments = [*pointers, {"kind": "i32", "value": 100}, {"kind": "f32", "value": factor}]
        shape = {"grid": [4, 1, 1], "block": [32, 1, 1], "shared": 1024, "pdl": True}
        return {"kernel": 0, "arguments": arguments, "names": [f"times {factor}"], **shape}

    names = (("x", "input"), ("y", "output"), ("z", "output"), ("w", "output"))
    program = {
        "schema": 2, "target": "sm_90a", "level": "", "module_hash": "", "arena": 512, "constants": 512,
        "bindings": [{"name": name, "direction": way, "dtype": "f32", "shape": [100]} for name, way in names],
        "windows": [], "tables": [], "tensor_maps": [], "kernels": ["scale"], "memory": {},
        "launches": [
            launch(place("binding", 0), place("arena"), 2),
            launch(place("arena"), place("binding", 1), 3),
            launch(place("constants"), place("binding", 3), 2),
        ],
        "copies": [{"source": place("binding", 1), "target": place("binding", 2), "bytes": 400}],
    }  # fmt: skip
    constants = np.pad(X, (0, 28)).tobytes()
    return Plan((Section("sm_90a", "sm_90a", "", program, "", code or {"ptx": b"text"}, constants),))


def test_runs_and_gives_everything_back(fake: FakeDriver) -> None:
    with Engine(plan()) as engine:
        assert engine.choice == "section sm_90a on Emulated (sm_90a, ptx)"
        context = engine.create_context()
        for turn in range(3):
            outputs = context.run({"x": X + turn})
            np.testing.assert_array_equal(outputs["y"], 6 * (X + turn))
            np.testing.assert_array_equal(outputs["z"], 6 * (X + turn))
            np.testing.assert_array_equal(outputs["w"], 2 * X)
        assert fake.calls.count("cuGraphInstantiate") == 1 and fake.calls.count("cuLaunchKernelEx") == 3
        context.close()
        with pytest.raises(UsageError, match="closed"):
            context.run({"x": X})
    assert not fake.memory
    for made, gone in (("StreamCreate", "StreamDestroy"), ("GraphInstantiate", "GraphExecDestroy")):
        assert fake.calls.count(f"cu{made}") == fake.calls.count(f"cu{gone}")
    assert "cuDevicePrimaryCtxRelease" in fake.calls and "cuModuleUnload" in fake.calls


def test_launches_are_as_the_plan_says(fake: FakeDriver) -> None:
    engine = Engine(plan())
    engine.run({"x": X})
    _, config = fake.launches[0]
    assert (config.gridDimX, config.gridDimY, config.blockDimX, config.sharedMemBytes) == (4, 1, 32, 1024)
    attribute = config.attrs[0]
    assert attribute.id == real.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
    assert attribute.value.programmaticStreamSerializationAllowed == 1
    assert fake.calls.index("cuFuncSetAttribute") < fake.calls.index("cuLaunchKernelEx")
    profile = engine.profile({"x": X}, repeat=2)
    assert [name for name, _ in profile] == ["times 2", "times 3", "times 2"]
    assert fake.launches[-1][1].numAttrs == 0  # alone, without overlap


def test_a_kernel_may_use_what_its_largest_launch_asks_for(fake: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever launch it is."""
    asked: list[int] = []

    def note(function: str, attribute: Any, size: int) -> tuple[()]:
        asked.append(size)
        return ()

    monkeypatch.setattr(fake, "do_cuFuncSetAttribute", note, raising=False)
    for sizes in ([4096, 1024, 512], [1024, 4096, 512], [512, 1024, 4096], [0, 0, 0]):
        made = plan()
        for launch, size in zip(made.sections[0].program["launches"], sizes, strict=True):
            launch["shared"] = size
        Engine(made).close()
    assert asked == [4096] * 3


def test_numbers_pass_bit_by_bit() -> None:
    """A 32-bit multiplier above 2^31 arrives as these 32 bits, whether it is written signed or unsigned."""
    for value in (0x92492493, 0x92492493 - (1 << 32)):
        made = Parameters(Launch(0, (Argument("i32", value=value),), ()), lambda place: 0, [], [])
        pointer = ctypes.c_void_p.from_address(made.address).value
        assert ctypes.c_uint32.from_address(pointer or 0).value == 0x92492493


def test_binding_captures_again(fake: FakeDriver) -> None:
    engine = Engine(plan())
    context = engine.create_context()
    assert isinstance(context, CudaContext)
    source, result = (fake.do_cuMemAlloc(512) // 16 * 16 + 16 for _ in range(2))
    ctypes.memmove(source, X.tobytes(), 400)

    class Array:
        def __init__(self, shape: tuple[int, ...] = (100,), typestr: str = "<f4") -> None:
            self.__cuda_array_interface__ = {"typestr": typestr, "shape": shape, "data": (source, False), "version": 3}

    np.testing.assert_array_equal(context.run({"x": Array()})["y"], 6 * X)
    context.bind("x", Array())
    context.bind("y", result)
    context.enqueue(99)
    assert np.frombuffer(ctypes.string_at(result, 400), np.float32).tolist() == (6 * X).tolist()
    assert set(context.run()) == {"z", "w"}
    assert fake.calls.count("cuGraphInstantiate") == 2
    for wrong, message in [
        (X, "is bound to a ndarray"),
        (Array((50, 2)), r"got shape \[50, 2\]"),
        (Array(typestr="<f8"), "got elements of type float64"),
        (result + 4, "not aligned to 16 bytes"),
    ]:
        with pytest.raises(UsageError, match=message):
            context.bind("x", wrong)
    with pytest.raises(UsageError, match='"x" is bound'):
        context.run({"x": X})


@pytest.mark.skipif(STEP != "opcode", reason="lines are more than where Ctrl-C comes: the end of a `with` is one")
def test_an_interrupt_at_every_step_of_a_run(fake: FakeDriver) -> None:
    """Ctrl-C anywhere, the capture of the graph included: the context is free, no stream captures, no copy is on its way to memory that
    nobody holds, and the next run is right."""
    context, steps, source = Engine(plan()).create_context(), 1, (ctypes.c_float * 100)(*X)
    while True:
        context.bind("x", ctypes.addressof(source))  # the next run captures again
        done = interrupted(lambda: context.run({}), steps)
        assert not done or steps > 100
        assert fake.captured is None and not fake.on_their_way, steps
        np.testing.assert_array_equal(context.run({})["y"], 6 * X)
        if done:
            return
        steps += 1


def test_a_number_of_threads_is_for_the_cpu(fake: FakeDriver) -> None:
    message = "threads: threads = 2, but section .* runs on a GPU"
    with pytest.raises(UsageError, match=message):
        Engine(plan(), threads=2)
    assert not fake.memory
    with Engine(plan()) as engine, pytest.raises(UsageError, match=message):
        engine.create_context(threads=2)


def test_return_codes_become_errors(fake: FakeDriver) -> None:
    fake.fail = {"cuMemAlloc": real.CUresult.CUDA_ERROR_OUT_OF_MEMORY}
    with pytest.raises(MemoryLimitError, match="cuda: cuMemAlloc: what happened") as memory:
        Engine(plan())
    assert memory.value.exit_code == 5
    fake.fail = {}
    engine = Engine(plan())
    fake.fail = {"cuLaunchKernelEx": real.CUresult.CUDA_ERROR_INVALID_VALUE}
    with pytest.raises(InternalError, match="cuLaunchKernelEx: CUDA_ERROR_INVALID_VALUE: what happened"):
        engine.run({"x": X})
    assert fake.captured is None  # the capture was ended
    fake.fail = {}
    np.testing.assert_array_equal(engine.run({"x": X})["y"], 6 * X)
    fake.fail = {"cuModuleGetFunction": real.CUresult.CUDA_ERROR_NOT_FOUND}
    with pytest.raises(PlanError, match="the code has no kernel scale"):
        Engine(plan())


def test_cubin_first_then_ptx(fake: FakeDriver) -> None:
    assert "(sm_90a, cubin)" in Engine(plan(cubin=b"machine code", ptx=b"text")).choice
    fake.fail = {"cuModuleLoadData": real.CUresult.CUDA_ERROR_INVALID_PTX}
    with pytest.raises(PlanError, match="the cubin is refused .*CUDA_ERROR_INVALID_PTX"):
        Engine(plan(cubin=b"machine code", ptx=b"text"))
    with pytest.raises(PlanError, match="holds no PTX"):
        Engine(plan(cubin=b"machine code"))


@pytest.mark.parametrize(
    ("capability", "target", "fits"),
    [((9, 0), "sm_90a", True), ((10, 0), "sm_90a", False), ((10, 0), "sm_80", True), ((7, 5), "sm_80", False)],
)
def test_which_device_runs_which_code(fake: FakeDriver, capability: tuple[int, int], target: str, fits: bool) -> None:
    fake.capability = capability
    if fits:
        assert cuda_driver.check_device(target).name == "Emulated"
        return
    with pytest.raises(PlanError, match=f"Emulated .* does not run {target} code"):
        cuda_driver.check_device(target)


def test_tensor_maps_are_innermost_first(fake: FakeDriver) -> None:
    im2col = TensorMap(
        "im2col", Place("arena", 0), "f16", (2, 9, 7, 64), (4032, 448, 64, 1), (128, 64), (1, 2, 3, 1), (-1, -2), (3, 4), 128, 256
    )  # fmt: skip
    cuda_driver.encode_tensor_map(im2col, 4096)
    kind, rank, address, dims, strides, lower, upper, channels, pixels, steps, *modes = fake.maps[-1]
    assert kind.name == "CU_TENSOR_MAP_DATA_TYPE_FLOAT16" and (rank, address) == (4, 4096)
    assert [int(d) for d in dims] == [64, 7, 9, 2] and [int(s) for s in strides] == [128, 896, 8064]
    assert (lower, upper, channels, pixels) == ([-2, -1], [4, 3], 64, 128)
    assert [int(s) for s in steps] == [1, 3, 2, 1]
    assert [mode.name.partition("MAP_")[2] for mode in modes] == [
        "INTERLEAVE_NONE", "SWIZZLE_128B", "L2_PROMOTION_L2_256B", "FLOAT_OOB_FILL_NONE",
    ]  # fmt: skip
    tiled = TensorMap("tiled", Place("arena", 0), "tf32", (20, 48), (64, 1), (16, 32), (1, 1), (), (), 0, 0)
    cuda_driver.encode_tensor_map(tiled, 0)
    kind, _, _, dims, strides, box, _, *modes = fake.maps[-1]
    assert kind.name == "CU_TENSOR_MAP_DATA_TYPE_TFLOAT32"
    assert [[int(v) for v in values] for values in (dims, strides, box)] == [[48, 20], [256], [32, 16]]
    assert [mode.name.rpartition("_")[2] for mode in modes] == ["NONE"] * 4
