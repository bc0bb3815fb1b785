"""Passes, one file each: `transforms/<level>/<verb>_<object>.py` holds the pass `<level>-<verb>-<object>` as `PASS`, where a file that begins with an
underscore holds none; `convert_a_to_b.py` in a package between two levels (`graph_to_linalg`, ..) holds `stepwell-convert-a-to-b`, and the files beside
it are what it is made of. `emit` is what several of them write with."""
