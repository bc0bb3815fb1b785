"""Families of schedules: what each can do with the stages of a fusion, how long it would take, and why it does not apply. A family is one
module with a `FAMILY`; the table of them is `transforms/linalg/families/table.py`."""
