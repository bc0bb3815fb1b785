"""Small kernels whose outputs were recorded on a GPU (`tests/gpu/record_golden.py`), for the simulator and the PTX interpreter to reproduce."""

from __future__ import annotations

from stepwell.testing.golden.copies import Copy, copies
from stepwell.testing.golden.data import Golden
from stepwell.testing.golden.products import Product, products

__all__ = ["Copy", "Golden", "Product", "copies", "everything", "products"]


def everything() -> list[Golden]:
    """All of them; names are unique."""
    listed = [*products(), *copies()]
    if len({golden.name for golden in listed}) != len(listed):
        raise ValueError("two golden kernels have one name")
    return listed
