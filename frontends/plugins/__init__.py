"""Plugins: ops that users define in Python, known to every door, interpreter and pass."""

from __future__ import annotations

from stepwell.frontends.plugins.building import PluginBuilder
from stepwell.frontends.plugins.definition import Plugin, plugin
from stepwell.frontends.plugins.programs import PtxKernel
from stepwell.frontends.plugins.specs import TensorSpec

__all__ = ["Plugin", "PluginBuilder", "PtxKernel", "TensorSpec", "plugin"]
