"""Caffe's messages: the fields that an importer of trained networks reads, by the numbers of the published `caffe.proto` (BVLC, and the
SSD, Faster R-CNN and NVIDIA branches). Arrays of numbers in blobs are declared as bytes, which have the same wire format when packed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from google.protobuf.message import Message

from stepwell.frontends.caffe.plugin_fields import plugin_fields
from stepwell.frontends.caffe.schema_layers import LAYERS
from stepwell.frontends.protobuf_schema import compile_schema

NETWORK = """
message BlobShape { repeated int64 dim = 1 [packed = true]; }
message BlobProto {
  optional int32 num = 1; optional int32 channels = 2; optional int32 height = 3; optional int32 width = 4;
  repeated bytes data = 5; repeated bytes double_data = 8; optional BlobShape shape = 7;
  optional int32 raw_data_type = 10; optional bytes raw_data = 12;
}
message UnpackedBlobProto { repeated float data = 5; repeated double double_data = 8; }
enum Phase { TRAIN = 0; TEST = 1; }
message NetState { optional Phase phase = 1 [default = TEST]; optional int32 level = 2; repeated string stage = 3; }
message NetStateRule {
  optional Phase phase = 1; optional int32 min_level = 2; optional int32 max_level = 3;
  repeated string stage = 4; repeated string not_stage = 5;
}
message ParamSpec {
  enum DimCheckMode { STRICT = 0; PERMISSIVE = 1; }
  optional string name = 1; optional DimCheckMode share_mode = 2;
  optional float lr_mult = 3 [default = 1]; optional float decay_mult = 4 [default = 1];
}
message FillerParameter {
  enum VarianceNorm { FAN_IN = 0; FAN_OUT = 1; AVERAGE = 2; }
  optional string type = 1 [default = "constant"]; optional float value = 2; optional float min = 3;
  optional float max = 4 [default = 1]; optional float mean = 5; optional float std = 6 [default = 1];
  optional int32 sparse = 7 [default = -1]; optional VarianceNorm variance_norm = 8;
}
message NetParameter {
  optional string name = 1; repeated string input = 3; repeated BlobShape input_shape = 8; repeated int32 input_dim = 4;
  optional bool force_backward = 5; optional NetState state = 6; optional bool debug_info = 7;
  repeated LayerParameter layer = 100; repeated V1LayerParameter layers = 2;
}
"""

LAYER = """
message LayerParameter {
  optional string name = 1; optional string type = 2; repeated string bottom = 3; repeated string top = 4;
  optional Phase phase = 10; repeated float loss_weight = 5; repeated ParamSpec param = 6; repeated BlobProto blobs = 7;
  repeated bool propagate_down = 11; repeated NetStateRule include = 8; repeated NetStateRule exclude = 9;
  optional TransformationParameter transform_param = 100; optional ArgMaxParameter argmax_param = 103;
  optional BatchNormParameter batch_norm_param = 139; optional BiasParameter bias_param = 141;
  optional ClipParameter clip_param = 148; optional ConcatParameter concat_param = 104;
  optional ConvolutionParameter convolution_param = 106; optional CropParameter crop_param = 144;
  optional DataParameter data_param = 107; optional DropoutParameter dropout_param = 108;
  optional DummyDataParameter dummy_data_param = 109; optional EltwiseParameter eltwise_param = 110;
  optional ELUParameter elu_param = 140; optional EmbedParameter embed_param = 137; optional ExpParameter exp_param = 111;
  optional FlattenParameter flatten_param = 135; optional InnerProductParameter inner_product_param = 117;
  optional InputParameter input_param = 143; optional LogParameter log_param = 134; optional LRNParameter lrn_param = 118;
  optional MemoryDataParameter memory_data_param = 119; optional MVNParameter mvn_param = 120;
  optional ParameterParameter parameter_param = 145; optional PoolingParameter pooling_param = 121;
  optional PowerParameter power_param = 122; optional PReLUParameter prelu_param = 131;
  optional PythonParameter python_param = 130; optional RecurrentParameter recurrent_param = 146;
  optional ReductionParameter reduction_param = 136; optional ReLUParameter relu_param = 123;
  optional ReshapeParameter reshape_param = 133; optional ScaleParameter scale_param = 142;
  optional SoftmaxParameter softmax_param = 125; optional SPPParameter spp_param = 132;
  optional SliceParameter slice_param = 126; optional SwishParameter swish_param = 147;
  optional ThresholdParameter threshold_param = 128; optional TileParameter tile_param = 138;
  optional ImageDataParameter image_data_param = 115; optional WindowDataParameter window_data_param = 129;
  optional HDF5DataParameter hdf5_data_param = 112; optional DataParameter annotated_data_param = 200;
  optional PermuteParameter permute_param = 202; optional PriorBoxParameter prior_box_param = 203;
  optional DetectionOutputParameter detection_output_param = 204; optional NormalizeParameter norm_param = 206;
  optional ROIPoolingParameter roi_pooling_param = 8266711; optional ProposalParameter proposal_param = 8266713;
  optional InterpParameter interp_param = 8266712; optional UpsampleParameter upsample_param = 8266714;
  optional ShuffleChannelParameter shuffle_channel_param = 8266715;
}
"""

LAST_FIELD = "optional ShuffleChannelParameter shuffle_channel_param = 8266715;\n"
"""Behind it stand the fields of plugins."""

LEGACY = """
message V0LayerParameter {
  enum PoolMethod { MAX = 0; AVE = 1; STOCHASTIC = 2; }
  optional string name = 1; optional string type = 2; optional uint32 num_output = 3;
  optional bool biasterm = 4 [default = true]; optional FillerParameter weight_filler = 5;
  optional FillerParameter bias_filler = 6; optional uint32 pad = 7; optional uint32 kernelsize = 8;
  optional uint32 group = 9 [default = 1]; optional uint32 stride = 10 [default = 1]; optional PoolMethod pool = 11;
  optional float dropout_ratio = 12 [default = 0.5]; optional uint32 local_size = 13 [default = 5];
  optional float alpha = 14 [default = 1]; optional float beta = 15 [default = 0.75]; optional float k = 22 [default = 1];
  optional string source = 16; optional float scale = 17 [default = 1]; optional string meanfile = 18;
  optional uint32 batchsize = 19; optional uint32 cropsize = 20; optional bool mirror = 21; repeated BlobProto blobs = 50;
  repeated float blobs_lr = 51; repeated float weight_decay = 52; optional uint32 rand_skip = 53;
  optional uint32 new_height = 62; optional uint32 new_width = 63; optional uint32 concat_dim = 65 [default = 1];
}
message V1LayerParameter {
  enum LayerType {
    NONE = 0; ACCURACY = 1; BNLL = 2; CONCAT = 3; CONVOLUTION = 4; DATA = 5; DROPOUT = 6; EUCLIDEAN_LOSS = 7; FLATTEN = 8;
    HDF5_DATA = 9; HDF5_OUTPUT = 10; IM2COL = 11; IMAGE_DATA = 12; INFOGAIN_LOSS = 13; INNER_PRODUCT = 14; LRN = 15;
    MULTINOMIAL_LOGISTIC_LOSS = 16; POOLING = 17; RELU = 18; SIGMOID = 19; SOFTMAX = 20; SOFTMAX_LOSS = 21; SPLIT = 22;
    TANH = 23; WINDOW_DATA = 24; ELTWISE = 25; POWER = 26; SIGMOID_CROSS_ENTROPY_LOSS = 27; HINGE_LOSS = 28;
    MEMORY_DATA = 29; ARGMAX = 30; THRESHOLD = 31; DUMMY_DATA = 32; SLICE = 33; MVN = 34; ABSVAL = 35; SILENCE = 36;
    CONTRASTIVE_LOSS = 37; EXP = 38; DECONVOLUTION = 39;
  }
  optional string name = 4; repeated string bottom = 2; repeated string top = 3; repeated NetStateRule include = 32;
  repeated NetStateRule exclude = 33; optional LayerType type = 5; repeated BlobProto blobs = 6; repeated string param = 1001;
  repeated float blobs_lr = 7; repeated float weight_decay = 8; repeated float loss_weight = 35;
  optional ArgMaxParameter argmax_param = 23; optional ConcatParameter concat_param = 9;
  optional ConvolutionParameter convolution_param = 10; optional DataParameter data_param = 11;
  optional DropoutParameter dropout_param = 12; optional DummyDataParameter dummy_data_param = 26;
  optional EltwiseParameter eltwise_param = 24; optional ExpParameter exp_param = 41;
  optional HDF5DataParameter hdf5_data_param = 13; optional ImageDataParameter image_data_param = 15;
  optional InnerProductParameter inner_product_param = 17; optional LRNParameter lrn_param = 18;
  optional MemoryDataParameter memory_data_param = 22; optional MVNParameter mvn_param = 34;
  optional PoolingParameter pooling_param = 19; optional PowerParameter power_param = 21;
  optional ReLUParameter relu_param = 30; optional SoftmaxParameter softmax_param = 39; optional SliceParameter slice_param = 31;
  optional ThresholdParameter threshold_param = 25; optional WindowDataParameter window_data_param = 20;
  optional TransformationParameter transform_param = 36; optional V0LayerParameter layer = 1;
}
"""


def messages() -> Mapping[str, type[Message]]:
    """Caffe's message classes by name; layers have the parameters of loaded plugins too."""
    known = NETWORK + LAYER + LEGACY + LAYERS
    fields, more = plugin_fields(known)
    return _compiled(known.replace(LAST_FIELD, LAST_FIELD + fields) + more)


@cache
def _compiled(text: str) -> Mapping[str, type[Message]]:
    return compile_schema(text, "stepwell.caffe")
