"""Conformance: every operator that is imported, and ONNX's node tests, through an executor, one process apart, against an independent oracle.

    python -m stepwell.testing.conformance sweep --on x86-64-v4        the operator sweep, in full
    python -m stepwell.testing.conformance nodes --on x86-64-v4        ONNX's node tests
    python -m stepwell.testing.conformance sweep --on sm_90a --update  and write what was seen into the checked-in record

A case ends *right*, *refused* (with a reason, before the first pass), *late* (a pass refused what import and compile had let through), *wrong*
(numbers, type or shape), *died* (a signal, or no answer in time) or *fault* (our own error, exit 70). Records under `tests/conformance` hold what
is right; they may only grow.
"""
