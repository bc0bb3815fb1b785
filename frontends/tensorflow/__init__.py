"""TensorFlow: frozen GraphDefs, binary and text, and SavedModels, without TensorFlow."""

from __future__ import annotations

from stepwell.frontends.tensorflow.importer import import_tensorflow

__all__ = ["import_tensorflow"]
