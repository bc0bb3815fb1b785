"""Plan files: one zip archive (stored, not compressed) that opens with standard tools.

    manifest.json                  format, version, sections, members with sizes and sha256, and what the builder tells
    (pipelines, remarks) <section>/program.json         what to allocate and launch (`stepwell.runtime.program`)
    <section>/module.mlir          the module that the code was made from; its sha256 is the program's module_hash
    <section>/code.o | code.ptx, code.cubin constants.<section>.bin        weights as the kernels want them; begins at a
    page boundary, so it is mapped, not read

Reading trusts nothing: what is damaged, truncated, foreign or newer is a PlanError. The checksums guard against damage,
not against people: a plan holds machine code and is trusted like a program.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from stepwell.runtime.errors import PlanError
from stepwell.runtime.files import unwritable, whole_file

FORMAT = "stepwell-plan"
VERSION = 1
PAGE = 4096
MAX_MANIFEST = 1 << 26
MAX_TEXT = 1 << 28
CODE_KINDS = ("o", "ptx", "cubin")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_ZIP64_FROM = 1 << 30
"""Members of this size and more get the zip64 field (20 bytes of the header) whether they need it or not."""
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, RecursionError,
    OverflowError, struct.error, KeyError, IndexError,
)  # fmt: skip
"""What the standard library raises on hostile archives and texts."""

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Section:
    """Code for one target: `code` maps o, ptx or cubin to bytes, `program` is the JSON value, `module` the IR's
    text."""

    name: str
    target: str
    level: str
    program: Mapping[str, Any]
    module: str
    code: Mapping[str, Bytes]
    constants: Bytes

    def __post_init__(self) -> None:
        unknown = set(self.code) - set(CODE_KINDS)
        if unknown or not self.name.replace("_", "").isalnum():
            raise ValueError(f"section {self.name!r} with code {sorted(self.code)}")


@dataclass(frozen=True)
class Plan:
    """Sections, best first, and what else the manifest says (`details`: versions, pipelines, remarks, ...)."""

    sections: tuple[Section, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""


# --- writing


def write_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write `plan` to `path`, beside it first and then renamed: a reader sees the old file or the whole new one. A UsageError says why it cannot
    be written."""
    try:
        with whole_file(path) as file:
            _write(plan, file)
    except OSError as error:
        raise unwritable(path, error) from error


def _members(plan: Plan) -> Iterator[tuple[str, Bytes]]:
    for section in plan.sections:
        yield f"{section.name}/program.json", _json(section.program)
        yield f"{section.name}/module.mlir", section.module.encode()
        for kind in CODE_KINDS:
            if kind in section.code:
                yield f"{section.name}/code.{kind}", section.code[kind]
        yield f"constants.{section.name}.bin", section.constants


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _write(plan: Plan, file: BinaryIO) -> None:
    members = list(_members(plan))
    manifest = {
        **plan.details,
        "format": FORMAT,
        "version": VERSION,
        "sections": [{"name": s.name, "target": s.target, "level": s.level} for s in plan.sections],
        "members": {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in members},
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, file, "manifest.json", _json(manifest))
        for name, data in members:
            _add(archive, file, name, data)


def _add(archive: zipfile.ZipFile, file: BinaryIO, name: str, data: Bytes) -> None:
    """Store one member; constants get an extra field that pads their data to a page boundary."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    large = len(data) >= _ZIP64_FROM
    if name.startswith("constants."):
        begin = file.tell() + 30 + len(name.encode()) + 4 + (20 if large else 0)
        padding = -begin % PAGE
        info.extra = struct.pack("<HH", 0xD935, padding) + bytes(padding)
    with archive.open(info, "w", force_zip64=large) as member:
        member.write(data)


# --- reading


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read and check a plan file. Constants and code are views of the mapped file, which stays open as long as they
    live."""
    where = str(path)
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise PlanError("is empty", where=where)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            archive = _Archive(mapped, file, where)
            return archive.plan()
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise PlanError(f"cannot be read: {error.strerror}", where=where) from error
    except _DAMAGE as error:
        raise PlanError(
            f"is not a plan file, or it is damaged ({error})",
            where=where,
            hint="stepwell compile makes plan files from models",
        ) from error


class _Archive:
    """An open plan file: every member is checked against the manifest before it is used."""

    def __init__(self, mapped: mmap.mmap, file: BinaryIO, where: str) -> None:
        self.view, self.where = memoryview(mapped), where
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            self.infos = {info.filename: info for info in infos}
            if len(self.infos) != len(infos):
                raise self.error("is damaged: two members have one name")
            if "manifest.json" not in self.infos:
                raise self.error("is a zip archive, but no plan: it has no manifest.json")
            if self.infos["manifest.json"].file_size > MAX_MANIFEST:
                raise self.error("is damaged: the manifest is too large")
            self._extent("manifest.json")
            self.manifest = json.loads(archive.read("manifest.json"))

    def error(self, what: str) -> PlanError:
        return PlanError(what, where=self.where)

    def plan(self) -> Plan:
        """Everything in the file."""
        manifest = self.manifest
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise self.error("is a zip archive, but no plan: its manifest is foreign")
        version = manifest.get("version")
        if type(version) is not int or version < 1:
            raise self.error("is damaged: the manifest has no version")
        if version > VERSION:
            hint = "upgrade stepwell, or compile the model again with this version"
            raise PlanError(
                f"is a newer plan (format {version}, this runtime reads {VERSION})", where=self.where, hint=hint
            )
        sections = manifest.get("sections")
        if not isinstance(sections, list) or not sections or not isinstance(manifest.get("members"), dict):
            raise self.error("is damaged: the manifest lists no sections")
        described = ("format", "version", "sections", "members")
        details = {key: value for key, value in manifest.items() if key not in described}
        return Plan(tuple(self._section(entry) for entry in sections), details, self.where)

    def _section(self, entry: object) -> Section:
        texts = [entry.get(key) if isinstance(entry, dict) else None for key in ("name", "target", "level")]
        if not all(isinstance(text, str) for text in texts):
            raise self.error("is damaged: the manifest describes a section badly")
        name, target, level = map(str, texts)
        program = json.loads(bytes(self._member(f"{name}/program.json", MAX_TEXT)))
        module = self._member(f"{name}/module.mlir", MAX_TEXT)
        if not isinstance(program, dict) or program.get("module_hash") != hashlib.sha256(module).hexdigest():
            raise self.error(f"is damaged: the program of section {name} was made from another module")
        members = {kind: f"{name}/code.{kind}" for kind in CODE_KINDS}
        code = {kind: self._member(member) for kind, member in members.items() if member in self.infos}
        return Section(
            name, target, level, program, bytes(module).decode(), code, self._member(f"constants.{name}.bin")
        )

    def _member(self, name: str, limit: int = 1 << 62) -> memoryview:
        """A member's bytes, checked against the manifest's size and hash."""
        expected = self.manifest["members"].get(name)
        if name not in self.infos or not isinstance(expected, dict):
            raise self.error(f"is damaged: {name} is missing")
        begin, size = self._extent(name)
        data = self.view[begin : begin + size]
        if size > limit or size != expected.get("size") or hashlib.sha256(data).hexdigest() != expected.get("sha256"):
            raise self.error(f"is damaged: the checksum of {name} is wrong")
        return data

    def _extent(self, name: str) -> tuple[int, int]:
        """Where a stored member's data lies: behind its local header (APPNOTE.TXT 4.3.7)."""
        info = self.infos[name]
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            raise self.error(f"is damaged: {name} is compressed or encrypted, members of a plan are stored")
        at = info.header_offset
        if at < 0 or bytes(self.view[at : at + 4]) != b"PK\x03\x04":
            raise self.error(f"is damaged: {name} has no header")
        name_length, extra_length = struct.unpack_from("<HH", self.view, at + 26)
        begin = at + 30 + name_length + extra_length
        if begin + info.file_size > len(self.view):
            raise self.error(f"is truncated: {name} ends outside of the file")
        return begin, info.file_size
