"""TensorFlow's messages: the fields that an importer of frozen graphs reads, by the numbers of the published definitions (tensorflow/core/framework)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import ml_dtypes
import numpy as np
from google.protobuf.message import Message

from stepwell.frontends.protobuf_schema import compile_schema

_TYPES = (
    *("INVALID", "FLOAT", "DOUBLE", "INT32", "UINT8", "INT16", "INT8", "STRING", "COMPLEX64", "INT64", "BOOL", "QINT8"),
    *("QUINT8", "QINT32", "BFLOAT16", "QINT16", "QUINT16", "UINT16", "COMPLEX128", "HALF", "RESOURCE", "VARIANT"),
    *("UINT32", "UINT64", "FLOAT8_E5M2", "FLOAT8_E4M3FN", "FLOAT8_E4M3FNUZ", "FLOAT8_E4M3B11FNUZ", "FLOAT8_E5M2FNUZ"),
    *("INT4", "UINT4", "INT2", "UINT2"),
)
TYPE_NAMES: Mapping[int, str] = dict(enumerate(_TYPES))
"""DataType numbers; the same plus 100 is a reference to such a tensor."""
_NUMPY = {
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "HALF": "float16",
    "BFLOAT16": "bfloat16",
    "BOOL": "bool",
    **{name: name.lower() for name in _TYPES if name.startswith(("INT", "UINT")) and name != "INVALID"},
    "FLOAT8_E5M2": "float8_e5m2",
    "FLOAT8_E4M3FN": "float8_e4m3fn",
}
DTYPES: Mapping[int, np.dtype[np.generic]] = {
    number: np.dtype(getattr(ml_dtypes, _NUMPY[name], _NUMPY[name]))
    for number, name in TYPE_NAMES.items()
    if name in _NUMPY
}
"""DataType number -> NumPy's type, for those that the IR has."""


def type_name(number: int) -> str:
    """How TensorFlow writes a DataType."""
    return f"DT_{TYPE_NAMES[number]}" if number in TYPE_NAMES else f"DataType {number}"


_ENUM = "enum DataType {\n{}\n}\n".replace(
    "{}\n",
    "".join(
        f"  DT_{name}{suffix} = {number + base};\n"
        for suffix, base in (("", 0), ("_REF", 100))
        for number, name in TYPE_NAMES.items()
        if base == 0 or number
    ),
)

_GRAPH = """
message TensorShapeProto {
  message Dim { optional int64 size = 1; optional string name = 2; }
  repeated Dim dim = 2; optional bool unknown_rank = 3;
}
message TensorProto {
  optional DataType dtype = 1; optional TensorShapeProto tensor_shape = 2; optional int32 version_number = 3;
  optional bytes tensor_content = 4; repeated int32 half_val = 13 [packed = true]; repeated float float_val = 5 [packed = true];
  repeated double double_val = 6 [packed = true]; repeated int32 int_val = 7 [packed = true]; repeated bytes string_val = 8;
  repeated float scomplex_val = 9 [packed = true]; repeated int64 int64_val = 10 [packed = true];
  repeated bool bool_val = 11 [packed = true]; repeated double dcomplex_val = 12 [packed = true];
  repeated uint32 uint32_val = 16 [packed = true]; repeated uint64 uint64_val = 17 [packed = true];
}
message NameAttrList { optional string name = 1; map<string, AttrValue> attr = 2; }
message AttrValue {
  message ListValue {
    repeated bytes s = 2; repeated int64 i = 3 [packed = true]; repeated float f = 4 [packed = true];
    repeated bool b = 5 [packed = true]; repeated DataType type = 6 [packed = true]; repeated TensorShapeProto shape = 7;
    repeated TensorProto tensor = 8; repeated NameAttrList func = 9;
  }
  optional bytes s = 2; optional int64 i = 3; optional float f = 4; optional bool b = 5; optional DataType type = 6;
  optional TensorShapeProto shape = 7; optional TensorProto tensor = 8; optional ListValue list = 1;
  optional NameAttrList func = 10; optional string placeholder = 9;
}
message NodeDef {
  optional string name = 1; optional string op = 2; repeated string input = 3; optional string device = 4;
  map<string, AttrValue> attr = 5;
}
message VersionDef { optional int32 producer = 1; optional int32 min_consumer = 2; repeated int32 bad_consumers = 3; }
message ArgDef { optional string name = 1; optional DataType type = 3; }
message OpDef { optional string name = 1; repeated ArgDef input_arg = 2; repeated ArgDef output_arg = 3; }
message FunctionDef {
  optional OpDef signature = 1; map<string, AttrValue> attr = 5; repeated NodeDef node_def = 3; map<string, string> ret = 4;
}
message FunctionDefLibrary { repeated FunctionDef function = 1; }
message GraphDef {
  repeated NodeDef node = 1; optional VersionDef versions = 4; optional int32 version = 3; optional FunctionDefLibrary library = 2;
}
message TensorInfo { optional string name = 1; optional DataType dtype = 2; optional TensorShapeProto tensor_shape = 3; }
message SignatureDef {
  map<string, TensorInfo> inputs = 1; map<string, TensorInfo> outputs = 2; optional string method_name = 3;
}
message MetaInfoDef { repeated string tags = 4; optional string tensorflow_version = 5; }
message MetaGraphDef {
  optional MetaInfoDef meta_info_def = 1; optional GraphDef graph_def = 2; map<string, SignatureDef> signature_def = 5;
}
message BundleHeaderProto { optional int32 num_shards = 1; optional int32 endianness = 2; }
message BundleEntryProto {
  optional DataType dtype = 1; optional TensorShapeProto shape = 2; optional int32 shard_id = 3; optional int64 offset = 4;
  optional int64 size = 5; optional fixed32 crc32c = 6; repeated bytes slices = 7;
}
message TrackableObjectGraph {
  message TrackableObject {
    message SerializedTensor { optional string name = 1; optional string full_name = 2; optional string checkpoint_key = 3; }
    repeated SerializedTensor attributes = 2;
  }
  repeated TrackableObject nodes = 1;
}
message SavedModel { optional int64 saved_model_schema_version = 1; repeated MetaGraphDef meta_graphs = 2; }
"""


@cache
def messages() -> Mapping[str, type[Message]]:
    """The message classes by name."""
    return compile_schema(_ENUM + _GRAPH, "stepwell.tensorflow")
