"""Caffe: text prototxt (V0, V1, V2) and binary caffemodel, without Caffe."""

from __future__ import annotations

from stepwell.frontends.caffe.importer import import_caffe
from stepwell.frontends.caffe.weights_file import read_caffemodel

__all__ = ["import_caffe", "read_caffemodel"]
