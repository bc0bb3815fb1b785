"""Changed files whose frame is right: the checksums of a plan, the directory of an archive and the length of a header fit what was changed."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np

from stepwell.runtime.plan_file import Plan, read_plan, write_plan
from stepwell.testing.hostile.data import mutated_bytes
from stepwell.testing.hostile.json_value import mutated_json
from stepwell.testing.hostile.text import mutated_text
from stepwell.transforms.plan._serialize import module_hash

ELEMENT_TYPES = ("<f4", ">f4", "<f8", "<f2", "|b1", "|i1", "<i8", "<u4", "<c8", "|S3", "<U2", "|V4", "<M8[s]", "|O")


def mutated_plan(source: Path, target: Path, random: Random) -> None:
    """Write a plan with a changed program, module, list of sections or details. Its code is as it was: it must not be run."""
    plan = read_plan(source)
    section = plan.sections[random.randrange(len(plan.sections))]
    match random.randrange(4):
        case 0 | 1:
            made = replace(section, program=mutated_json(dict(section.program), random))
        case 2:
            text = mutated_text(section.module, random)
            program = {**section.program, "module_hash": module_hash(text)}
            made = replace(section, module=text, program=program)
        case _:
            write_plan(Plan(plan.sections, mutated_json(dict(plan.details), random) or {}), target)
            return
    write_plan(Plan((made,), plan.details), target)


def mutated_npz(arrays: dict[str, np.ndarray], random: Random) -> bytes:
    """An archive of `arrays` (stored or deflated) with a changed member: its array, its name, its bytes or the archive's."""
    stream = io.BytesIO()
    kind = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name, array in arrays.items():
            data = npy_bytes(array) if random.random() < 0.3 else mutated_npy(array, random)
            member = (
                name if random.random() < 0.8 else random.choice(("", "é", name + "\0x", "../" + name, name + ".npy"))
            )
            archive.writestr(f"{member}.npy", data)
    return stream.getvalue() if random.random() < 0.5 else mutated_bytes(stream.getvalue(), random)


def npy_bytes(array: np.ndarray) -> bytes:
    """The array as a `.npy` file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def mutated_npy(array: np.ndarray, random: Random) -> bytes:
    """A `.npy` file with another element type or shape, a header that says what its bytes do not hold, or changed bytes."""
    match random.randrange(4):
        case 0:
            dtype = np.dtype(random.choice(ELEMENT_TYPES[:-1]))
            return npy_bytes(np.zeros(array.shape, dtype))
        case 1:
            shape = random.choice(((), (0,), (1, *array.shape), array.shape[::-1], (*array.shape, 0), (3, 1)))
            return npy_bytes(np.zeros(shape, array.dtype))
        case 2:
            return _with_header(array, random)
        case _:
            return mutated_bytes(npy_bytes(array), random)


def _with_header(array: np.ndarray, random: Random) -> bytes:
    shape = random.choice(
        (str(array.shape), "(-1,)", "(1099511627776,)", "(2, 2**62)", "(True,)", "[2]", "'x'", "(1.5,)", f"({10**40},)")
    )
    order = random.choice(("False", "True", "None", "1"))
    header = f"{{'descr': '{random.choice(ELEMENT_TYPES)}', 'fortran_order': {order}, 'shape': {shape}, }}"
    text = header.ljust(117) + "\n"
    version = random.choice((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    length = len(text).to_bytes(2 if version[:1] == b"\x01" else 4, "little")
    return b"\x93NUMPY" + version + length + text.encode() + array.tobytes()


def mutated_safetensors(data: bytes, random: Random) -> bytes:
    """A weight file with a changed header whose length is right."""
    length = int.from_bytes(data[:8], "little")
    header = mutated_json(json.loads(data[8 : 8 + length]), random)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
