"""A ring while it is interpreted: what its slots hold, who has which of them, and what may not happen to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import Operation, Region, SSAValue

from stepwell.dialects.numpy_types import Array
from stepwell.dialects.tile.attributes import TileType
from stepwell.dialects.tile.ops_copy import DrainOp, FetchOp
from stepwell.dialects.tile.ops_ring import AwaitOp, PublishOp, ReleaseOp, RingOp, WriteOp
from stepwell.runtime.errors import ModelError

Place = tuple[SSAValue, tuple[int, ...]]
"""A ref, and the offsets of a tile in it."""


@dataclass(frozen=True)
class Wait:
    """Why a coroutine stands still: until `ready` says yes, at `what`."""

    ready: Callable[[], bool]
    what: str


def misuse(op: Operation, reason: str) -> ModelError:
    """What is wrong at an op."""
    return ModelError(reason, where=str(op).partition(" = ")[2] or str(op))


@dataclass
class Reader:
    """A role's (or a copy's) view of a ring: the numbers of the slots that it has taken and of those that it still holds."""

    copy: int
    copies: int
    next: int = 0
    held: list[int] = field(default_factory=list)


@dataclass
class SlotTile:
    """One tile of a slot, in the hands of who took it."""

    ring: Ring
    number: int
    element: int
    kind: TileType
    reader: Reader | None

    def read(self, op: Operation) -> Array:
        """Its elements, while the slot is held."""
        if self.reader is None or self.number not in self.reader.held:
            raise misuse(op, f"reads element #{self.element} of {self.ring.title} after its slot was released")
        values = self.ring.content(self.number)[self.element]
        assert values is not None
        return values

    def write(self, op: WriteOp, values: Array) -> None:
        """Put a register tile there."""
        if self.number < self.ring.published or self.number in self.ring.drained:
            raise misuse(op, f"writes to a slot of {self.ring.title} that was given away before")
        self.ring.content(self.number)[self.element] = np.broadcast_to(values, self.kind.get_shape()).copy()

    def drain(self, op: DrainOp) -> Array:
        """Its elements on their way to memory; the slot is free afterwards."""
        if self.number in self.ring.drained:
            raise misuse(op, f"drains a slot of {self.ring.title} twice")
        values = self.ring.content(self.number)[self.element]
        if values is None:
            raise misuse(op, f"drains a slot of {self.ring.title} that nobody wrote")
        self.ring.drained.add(self.number)
        return values


@dataclass
class Ring:
    """Slots by their number since the start of the block: number n lies in slot n modulo slots."""

    op: RingOp
    readers: dict[str, Reader] = field(default_factory=dict)
    contents: dict[int, list[Array | None]] = field(default_factory=dict)
    tile_of: dict[int, int] = field(default_factory=dict)
    filled: list[int] = field(default_factory=list)
    ahead: list[list[Place]] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    acquired: int = 0
    published: int = 0
    drained: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        count = len(self.op.element_types)
        self.filled, self.skipped, self.ahead = [0] * count, [0] * count, [[] for _ in range(count)]

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"%{self.op.ring.name_hint}" if self.op.ring.name_hint else "a ring"

    def admit(self, name: str, body: Region, copy: int, copies: int) -> None:
        """Note a role that reads the ring."""
        if any(isinstance(op, AwaitOp) and op.ring is self.op.ring for op in body.walk()):
            self.readers[name] = Reader(copy, copies)

    def reader(self, name: str) -> Reader:
        """Who `name` is to this ring."""
        return self.readers[name]

    def content(self, number: int) -> list[Array | None]:
        """What slot number `number` holds."""
        return self.contents[number]

    # --- the writer

    def _is_free(self, number: int) -> bool:
        """Whether the slot of `number` is no longer held under its earlier number."""
        before = number - self.op.slot_count
        if before < 0 or before in self.drained:
            return True
        readers = self._readers_of(before)
        return bool(readers) and all(before < reader.next and before not in reader.held for reader in readers)

    def _readers_of(self, number: int) -> list[Reader]:
        if self.op.alternate is None:
            return list(self.readers.values())
        return [reader for reader in self.readers.values() if self.tile_of[number] % reader.copies == reader.copy]

    def can_fill(self, element: int) -> bool:
        """Whether the next slot of an element is free."""
        return self._is_free(self.filled[element])

    def fill(self, op: FetchOp, values: Array, place: Place, tile: int) -> None:
        """A fetched tile arrives."""
        number = self.filled[op.number]
        self.filled[op.number] += 1
        if op.rest is None:
            self.ahead[op.number].append(place)
        self._open(number, tile)
        self.contents[number][op.number] = values

    def was_fetched_ahead(self, op: FetchOp, place: Place) -> bool:
        """Whether this execution of a fetch of the rest was done before; then it brought the same tile."""
        done = self.skipped[op.number]
        if done >= len(self.ahead[op.number]):
            return False
        if self.ahead[op.number][done] != place:
            raise misuse(
                op,
                f"{self.title}#{op.number} was fetched ahead from {list(self.ahead[op.number][done][1])}, the rest wants {list(place[1])}",
            )
        self.skipped[op.number] += 1
        return True

    def can_acquire(self) -> bool:
        """Whether the writer's next slot is free."""
        return self._is_free(self.acquired)

    def acquire(self, tile: int) -> list[SlotTile]:
        """The writer's next slot, with nothing in it."""
        number = self.acquired
        self.acquired += 1
        self._open(number, tile)
        return self._tiles(number, None)

    def publish(self, op: PublishOp) -> None:
        """All acquired slots are full."""
        for number in range(self.published, self.acquired):
            if any(values is None for values in self.contents[number]):
                raise misuse(op, f"a slot of {self.title} is published before all its elements are written")
        if self.published == self.acquired:
            raise misuse(op, f"nothing of {self.title} was acquired since the last tile.publish")
        self.published = self.acquired

    def _open(self, number: int, tile: int) -> None:
        self.contents.setdefault(number, [None] * len(self.op.element_types))
        self.tile_of.setdefault(number, tile)
        self.contents.pop(number - self.op.slot_count, None)

    # --- readers

    def _next_of(self, reader: Reader) -> int:
        """The number of a reader's next slot: its copy's own, where copies alternate."""
        number = reader.next
        while self.op.alternate is not None and self.tile_of.get(number, reader.copy) % reader.copies != reader.copy:
            number += 1
        return number

    def is_full(self, reader: Reader) -> bool:
        """Whether all elements of a reader's next slot have come."""
        return min(self.filled) > self._next_of(reader) or self.published > self._next_of(reader)

    def take(self, reader: Reader) -> list[SlotTile]:
        """A reader's next slot, which it now holds."""
        number = self._next_of(reader)
        reader.next = number + 1
        reader.held.append(number)
        return self._tiles(number, reader)

    def release(self, op: ReleaseOp, name: str) -> None:
        """A reader gives back all but the newest slots that it holds."""
        if name not in self.readers:
            raise misuse(op, f"{self.title} is released by a role that awaits nothing of it")
        reader = self.readers[name]
        if not reader.held and reader.next and not op.kept:
            raise misuse(op, f"{self.title} is released twice: nothing of it is held")
        del reader.held[: max(0, len(reader.held) - op.kept)]

    def _tiles(self, number: int, reader: Reader | None) -> list[SlotTile]:
        return [SlotTile(self, number, element, kind, reader) for element, kind in enumerate(self.op.element_types)]
