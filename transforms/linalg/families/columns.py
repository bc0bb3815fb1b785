"""A reduction in registers: each element of the result is summed up by the thread or vector lane that holds it, one step after the other. Pools,
depthwise and first convolutions, products of any element type."""

from __future__ import annotations

from stepwell.transforms.linalg.families.vectors import vector_family

FAMILY = vector_family("columns", "no matrix product", reduces=True)
