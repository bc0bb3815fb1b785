"""Remarks as text, JSON lines or YAML documents in the shape of LLVM's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from stepwell.passes.remarks import Remark


def format_remarks(remarks: Iterable[Remark], style: str) -> str:
    """All `remarks` in one of the styles text, json, yaml; the empty string for none."""
    writers: dict[str, Callable[[Remark], str]] = {"text": str, "json": _json, "yaml": _yaml}
    writer = writers[style]
    return "".join(writer(remark) + "\n" for remark in remarks)


def _json(remark: Remark) -> str:
    return json.dumps(
        {
            "kind": remark.kind,
            "pass": remark.pass_name,
            "names": list(remark.names),
            "message": remark.message,
            "hint": remark.hint,
        }
    )


def _yaml(remark: Remark) -> str:
    quoted = {key: json.dumps(value) for key, value in (("Message", remark.message), ("Hint", remark.hint)) if value}
    fields = "".join(f"{key}: {value}\n" for key, value in quoted.items())
    names = json.dumps(list(remark.names))
    return f"--- !{remark.kind.capitalize()}\nPass: {remark.pass_name}\nNames: {names}\n{fields}..."
