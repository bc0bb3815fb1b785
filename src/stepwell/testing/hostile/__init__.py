"""Hostile inputs: mutators of every kind of file, networks at the edge of what is allowed, and children to run commands on them.

Everything is made from a `random.Random`, so a seed is a test case:

>>> from random import Random
>>> from stepwell.testing.hostile.data import mutated_bytes
>>> mutated_bytes(b"stepwell", Random(1)) == mutated_bytes(b"stepwell", Random(1)) != b"stepwell"
True

`data` changes bytes, `text` tokens of MLIR, `json_value` values, `containers` the files around them with checksums that are right, `model`
fields of an ONNX model; `networks` makes whole models; `children` runs commands, `judge` says what may come of them.
"""

from __future__ import annotations
