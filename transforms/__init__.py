"""Passes, one file each: `transforms/<level>/<verb>_<object>.py` holds the pass `<level>-<verb>-<object>` as `PASS`;
`transforms/lower/convert_a_to_b.py` holds `stepwell-convert-a-to-b`. Files that begin with an underscore hold no pass."""
