"""Pytest at the root: the folders are collected through their links in src/stepwell; properties run a few examples unless asked for more."""

import os

from hypothesis import HealthCheck, settings

os.environ["STEPWELL_PLUGIN_PATH"] = ""  # plugins that happen to be installed are no part of what is tested
collect_ignore = ["frontends", "dialects", "transforms", "codegen", "runtime"]

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("default", max_examples=20, deadline=None, derandomize=True, suppress_health_check=QUIET)
settings.register_profile("all", max_examples=200, deadline=None, suppress_health_check=QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
