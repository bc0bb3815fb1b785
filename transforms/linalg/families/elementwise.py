"""No reduction: each element of the results is a map of loaded elements, in blocks of rows and vectors. Transposes and broadcasts are loads in
another order."""

from __future__ import annotations

from stepwell.transforms.linalg.families.vectors import vector_family

FAMILY = vector_family("elementwise", "no reduction", reduces=False)
