"""A pass that never changes anything in a whole property is warned of, by name; one that does is not."""

from __future__ import annotations

import pytest

from stepwell.testing.activity import idle, tell, watched

pytest_plugins = ["pytester"]

PROPERTY = """
from hypothesis import given, settings
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies import graphs

@given(case=graphs(3, steps=("reshape",)))
@settings(max_examples=6, deadline=None, derandomize=True)
def test_never(case):
    check_pass("graph-fuse-epilogue", case.module, case.context())

@given(case=graphs(3, steps=("unary",)))
@settings(max_examples=6, deadline=None, derandomize=True)
def test_sometimes(case):
    check_pass("graph-fuse-single", case.module, case.context())
"""


def test_a_property_in_which_nothing_happens_is_warned_of(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROPERTY)
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*PassNeverChanged: graph-fuse-epilogue changed none of 6 modules in *::test_never:*"])


def test_few_modules_say_nothing() -> None:
    with watched() as runs:
        for _ in range(4):
            tell("acme-rare", False)
        for number in range(5):
            tell("acme-lazy", False)
            tell("acme-busy", number == 4)
    assert idle(runs) == [("acme-lazy", 5)]
    tell("acme-outside", False)
    assert "acme-outside" not in runs
