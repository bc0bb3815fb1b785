"""Every reader of files, with files that it takes: what the fuzzer starts from, and what judges a found case again.

An input is the bytes of one or more files: `model.onnx` and the data beside it. `judge` writes them into a folder, reads them as a user's call would, and
says what is wrong with how that ended: nothing, or one clear error with an exit code that such a file may have."""

from __future__ import annotations

import re
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from stepwell.runtime.errors import ModelError, StepwellError
from stepwell.testing.hostile import seeds
from stepwell.testing.hostile.containers import mutated_npz, mutated_plan, mutated_safetensors
from stepwell.testing.hostile.data import mutated_bytes
from stepwell.testing.hostile.model import mutated_serialized
from stepwell.testing.hostile.text import mutated_text

Parts = tuple[bytes, ...]
"""The bytes of the files of an input, in the order of `Parser.files`."""
SECONDS = 10.0
"""Of processor time for one input of some kilobytes."""
_PLACE = re.compile(
    r"'[^']*'|\"|\bbyte \d|\bline \d|:\d+:\d+|\bnode\b|[%@]\w|--shape|has no \w+|\bthis is a \w|holds no \w+|candidates are|no signature|is not UTF-8|IR version|Opset import|initializer name|value_info name|operator set"
)

_CANDIDATES = re.compile(r"candidates are ([^\n(]+)")


@dataclass(frozen=True)
class Fault:
    """What is wrong with how reading ended. `key` is the same for faults of one cause: the exception and the place in our sources."""

    key: str
    text: str


@dataclass(frozen=True)
class Parser:
    """`files` of an input; `seeds` makes inputs that are read; `read` reads the folder that holds them; `mutate` changes the part of that number;
    `codes` are the exit codes that a damaged file may have. Of a `network` that is refused a node, a line or a byte is named; of a container the file."""

    files: tuple[str, ...]
    seeds: Callable[[], Iterable[Parts]]
    read: Callable[[Path], object]
    mutate: Callable[[int, bytes, Random], bytes]
    codes: tuple[int, ...] = (2, 3)
    network: bool = True


def judge(parser: Parser, parts: Parts, folder: Path) -> Fault | None:
    """Read the input from `folder`, which holds nothing else."""
    _write(folder, dict(zip(parser.files, parts)))
    begun = time.process_time()
    try:
        with _limited(3 * SECONDS), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            parser.read(folder)
        found = _judge_warnings(warned)
    except StepwellError as error:
        found = _judge_error(error, parser, folder) or _judge_warnings(warned)
    except _Hang as error:
        return Fault(f"hang at {_place(error)}", f"no end in {3 * SECONDS:.0f} s, at {_place(error)}")
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is no StepwellError
        found = Fault(f"{type(error).__name__} at {_place(error)}", "".join(traceback.format_exception(error)[-6:]))
    seconds = time.process_time() - begun
    return found or (Fault("slow", f"{seconds:.1f} s") if seconds > SECONDS else None)


def _judge_warnings(warned: Sequence[warnings.WarningMessage]) -> Fault | None:
    """What a library prints stands before the one line of an error."""
    warned = [entry for entry in warned if not issubclass(entry.category, DeprecationWarning)]  # Python shows none
    if not warned:
        return None
    place = f"{Path(warned[0].filename).name}:{warned[0].lineno}"
    return Fault(f"{warned[0].category.__name__} at {place}", f"{place}: {warned[0].message}")


def _judge_error(error: StepwellError, parser: Parser, folder: Path) -> Fault | None:
    first = str(error).partition("\n")[0]
    if error.exit_code not in parser.codes:
        return Fault(f"exit {error.exit_code} at {_place(error)}", f"exit {error.exit_code}: {error}")
    if parser.network and not _PLACE.search(first.replace(str(folder), "")) and not getattr(error, "reasons", ()):
        return Fault(f"no place at {_place(error)}", f"names neither a node nor a byte: {first}")
    return None


def _place(error: BaseException) -> str:
    """The innermost line of our sources, without its number: what a fault is known by."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "stepwell" in frame.filename or "/frontends/" in frame.filename
    ]
    return f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "?"


class _Hang(BaseException):
    """No `except Exception` stops it."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise `_Hang` in what takes more of the processor's time."""

    def stop(*_: object) -> None:
        raise _Hang

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


# --- one input as one string of bytes


def packed(parts: Parts) -> bytes:
    """The parts as one string: alone, or each behind its length."""
    return parts[0] if len(parts) == 1 else b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def unpacked(data: bytes, count: int) -> Parts:
    """`count` parts from any bytes: lengths reach as far as the bytes do."""
    if count == 1:
        return (data,)
    parts, at = [], 0
    for _ in range(count):
        length = int.from_bytes(data[at : at + 4], "little")
        parts.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return tuple(parts)


# --- the readers


def _model(name: str, weights: str | None = None) -> Callable[[Path], object]:
    """Import the model, verify and print it."""

    def read(folder: Path) -> object:
        import stepwell
        from stepwell.ir.printing import module_text

        given: Any = "random:0" if weights == "random" else folder / weights if weights else None
        try:
            module = stepwell.import_model(folder / name, weights=given)
        except ModelError as error:
            outputs = _CANDIDATES.search(str(error))
            if outputs is None:
                raise
            module = stepwell.import_model(folder / name, outputs=outputs[1].split(", ")[:2])
        module.verify()
        return module_text(module)

    return read


def _plan(folder: Path) -> None:
    from stepwell.runtime.plan_file import read_plan
    from stepwell.runtime.program_reader import read_program

    for section in read_plan(folder / "net.plan").sections:
        read_program(section.program)


def _arrays(folder: Path) -> object:
    from stepwell.cli.arrays import read_inputs

    return read_inputs([str(folder / "in.npz")])


def _weights(folder: Path) -> object:
    from stepwell.dialects.weights import open_weights

    store = open_weights(folder / "net.safetensors")
    return [store.array(name) for name in store]


def _by_kind(*mutators: Callable[[bytes, Random], bytes]) -> Callable[[int, bytes, Random], bytes]:
    """The mutator of each part; one time in four bytes."""

    def mutate(part: int, data: bytes, random: Random) -> bytes:
        return mutated_bytes(data, random) if random.random() < 0.25 else mutators[part](data, random)

    return mutate


def _text(data: bytes, random: Random) -> bytes:
    return mutated_text(data.decode(errors="replace"), random).encode(errors="replace")


def _message(door: str, name: str) -> Callable[[bytes, Random], bytes]:
    return lambda data, random: mutated_serialized(seeds.message_class(door, name), data, random)


def _plan_fields(data: bytes, random: Random) -> bytes:
    """A plan whose checksums fit what was changed in it; bytes of what is none."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "source", Path(name) / "target"
        source.write_bytes(data)
        try:
            mutated_plan(source, target, random)
        except (StepwellError, ValueError, TypeError, KeyError):
            return mutated_bytes(data, random)
        return target.read_bytes()


def _npz(data: bytes, random: Random) -> bytes:
    return mutated_npz(dict(seeds.ARRAYS), random)


def _safetensors(data: bytes, random: Random) -> bytes:
    try:
        return mutated_safetensors(data, random)
    except ValueError:  # an earlier change took the header apart
        return mutated_bytes(data, random)


PARSERS: Mapping[str, Parser] = {
    "onnx": Parser(("net.onnx",), seeds.onnx_models, _model("net.onnx"), _by_kind(_message("onnx", "ModelProto"))),
    "onnx-external": Parser(
        ("net.onnx", "net.data"),
        seeds.external_models,
        _model("net.onnx"),
        _by_kind(_message("onnx", "ModelProto"), mutated_bytes),
    ),
    "prototxt": Parser(("net.prototxt",), seeds.prototxts, _model("net.prototxt", "random"), _by_kind(_text)),
    "caffemodel": Parser(
        ("net.prototxt", "net.caffemodel"),
        seeds.caffe_models,
        _model("net.prototxt", "net.caffemodel"),
        _by_kind(_text, _message("caffe", "NetParameter")),
    ),
    "graphdef": Parser(("net.pb",), seeds.graph_defs, _model("net.pb"), _by_kind(_message("tensorflow", "GraphDef"))),
    "pbtxt": Parser(("net.pbtxt",), seeds.text_graph_defs, _model("net.pbtxt"), _by_kind(_text)),
    "saved-model": Parser(
        seeds.BUNDLE,
        seeds.saved_models,
        _model("."),
        _by_kind(_message("tensorflow", "SavedModel"), mutated_bytes, mutated_bytes),
    ),
    "mlir": Parser(("net.mlir",), seeds.modules, _model("net.mlir"), _by_kind(_text)),
    "plan": Parser(("net.plan",), seeds.plans, _plan, _by_kind(_plan_fields), (4,), network=False),
    "npz": Parser(("in.npz",), seeds.archives, _arrays, _by_kind(_npz), (2,), network=False),
    "safetensors": Parser(("net.safetensors",), seeds.weights, _weights, _by_kind(_safetensors), (3,), network=False),
}
"""By the name that the command uses."""
