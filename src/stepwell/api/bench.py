"""`bench`: latency and throughput of an engine on this machine, as a report. Imports the runtime only."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stepwell.runtime.engine import BindingInfo, Engine
from stepwell.runtime.errors import UsageError
from stepwell.runtime.program import Binding, dtype_of

MEMORY_NAMES = {
    "weights": ("constants",),
    "activations": ("arena",),
    "address tables": ("tables",),
    "in and out": ("inputs", "outputs"),
}
"""What a report calls the parts of an engine's memory; `--json` has all of them, in bytes, under the plan's own names."""


def readable_bytes(size: int) -> str:
    """A size with three digits and a unit: 512 B, 4.69 KiB, 5.62 MiB.

    >>> [readable_bytes(size) for size in (0, 512, 4800, 368128, 5898240, 1 << 40)]
    ['0 B', '512 B', '4.69 KiB', '360 KiB', '5.62 MiB', '1024 GiB']
    """
    units = ("B", "KiB", "MiB", "GiB")
    power = min(max(size.bit_length() - 1, 0) // 10, len(units) - 1)
    value = size / 1024**power
    digits = max(0, 3 - len(str(int(value)))) if power else 0
    return f"{value:.{digits}f} {units[power]}"


@dataclass(frozen=True)
class BenchReport:
    """What was measured: host time from call to outputs, copies of inputs and outputs included."""

    device: str
    section: str
    runs: int
    batch: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    throughput: float
    kernels: int
    launches: int
    memory: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        sizes = {told: sum(self.memory.get(key, 0) for key in keys) for told, keys in MEMORY_NAMES.items()}
        memory = ", ".join(f"{told} {readable_bytes(size)}" for told, size in sizes.items() if size)
        return (
            f"section     {self.section} on {self.device}\n"
            f"throughput  {self.throughput:,.0f} samples/s (batch {self.batch})\n"
            f"latency     p50 {self.p50_ms:.3f} ms, p90 {self.p90_ms:.3f} ms, p99 {self.p99_ms:.3f} ms"
            f" ({self.runs} runs, mean {self.mean_ms:.3f} ms)\n"
            f"kernels     {self.kernels} in {self.launches} launches\n"
            f"memory      {memory}"
        )


def random_inputs(engine: Engine, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs by a seed: normally distributed floats, small integers."""
    return random_arrays(engine.bindings, seed)


def random_arrays(bindings: Iterable[BindingInfo | Binding], seed: int = 0) -> dict[str, np.ndarray]:
    """`random_inputs` for the inputs among `bindings`."""
    generator = np.random.default_rng(seed)
    made = {}
    for binding in bindings:
        if binding.is_input:
            values = generator.standard_normal(binding.shape)
            made[binding.name] = (values * 4 if dtype_of(binding.dtype).kind != "f" else values).astype(
                dtype_of(binding.dtype)
            )
    return made


def bench(
    engine: Engine,
    *,
    duration: float = 3.0,
    warmup: float = 0.5,
    inputs: Mapping[str, np.ndarray] | None = None,
    threads: int | None = None,
) -> BenchReport:
    """Run for `duration` seconds, after `warmup` seconds that do not count, on `inputs` (random ones unless given)."""
    if duration <= 0 or warmup < 0:
        raise UsageError("a duration must be above 0 seconds, a warm-up at least 0")
    values = dict(inputs) if inputs is not None else random_inputs(engine)
    context = engine.create_context(threads=threads)
    try:
        _run_for(context, values, warmup)
        seconds = np.array(_run_for(context, values, duration))
    finally:
        context.close()
    p50, p90, p99 = 1e3 * np.percentile(seconds, [50, 90, 99])
    batch = next((b.shape[0] for b in engine.bindings if b.is_input and b.shape), 1)
    return BenchReport(
        device=engine.module.device,
        section=engine.section.name,
        runs=len(seconds),
        batch=batch,
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        mean_ms=float(1e3 * seconds.mean()),
        throughput=float(batch * len(seconds) / seconds.sum()),
        kernels=len(engine.program.kernels),
        launches=len(engine.program.launches),
        memory=engine.memory,
    )


def _run_for(context: Any, inputs: Mapping[str, np.ndarray], duration: float) -> list[float]:
    """Seconds of each run; at least one."""
    seconds: list[float] = []
    end = time.perf_counter() + duration
    while not seconds or time.perf_counter() < end:
        begun = time.perf_counter()
        context.run(inputs)
        seconds.append(time.perf_counter() - begun)
    return seconds
