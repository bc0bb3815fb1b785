"""The network API: a network built in Python, layer by layer."""

from __future__ import annotations

from stepwell.frontends.network.core import Layer
from stepwell.frontends.network.network import Network, import_network
from stepwell.frontends.network.tensor import Tensor

__all__ = ["Layer", "Network", "Tensor", "import_network"]
