"""The reference pages under `docs/reference`, written from the code: `python -m stepwell.reference`, or `make docs`."""
