"""Changed JSON values: programs of plans, headers of weight files."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**42, 2**63, 2**64, -(2**63), 10**40, 0.5, 1e308, "", "é", "\0", "x" * 300, [], [[]], {}, {"": None}, [0] * 9,
)  # fmt: skip


def mutated_json(value: Any, random: Random, changes: int | None = None) -> Any:
    """A copy of `value` with one to three changes at any depth."""
    made = {"root": deepcopy(value)}
    for _ in range(changes or random.randint(1, 3)):
        holder, key = random.choice(_places(made))
        _change(holder, key, random)
    return made.get("root")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below `value`."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [place for key in keys for place in ((value, key), *_places(value[key]))]


def _change(holder: Any, key: Any, random: Random) -> None:
    held = holder[key]
    number = isinstance(held, int) and not isinstance(held, bool)
    match random.randrange(5):
        case 0 if key != "root":
            del holder[key]
        case 1 if number:
            holder[key] = held + random.choice((-1, 1, held, -2 * held))
        case 2 if isinstance(held, str):
            holder[key] = held[: random.randrange(len(held) + 1)] + random.choice(("", "x", "é", "\n"))
        case 3 if isinstance(held, list) and held:
            held.insert(random.randrange(len(held)), deepcopy(random.choice(held)))
        case _:
            holder[key] = deepcopy(random.choice(ODD))
