"""The parameters of Caffe's layers, with their defaults, by the numbers of the published definitions."""

LAYERS = """
message TransformationParameter {
  optional float scale = 1 [default = 1]; optional bool mirror = 2; optional uint32 crop_size = 3; optional string mean_file = 4;
  repeated float mean_value = 5; optional bool force_color = 6; optional bool force_gray = 7; optional ResizeParameter resize_param = 8;
}
message ResizeParameter { optional uint32 height = 3; optional uint32 width = 4; }
message ArgMaxParameter { optional bool out_max_val = 1; optional uint32 top_k = 2 [default = 1]; optional int32 axis = 3; }
message BatchNormParameter {
  optional bool use_global_stats = 1; optional float moving_average_fraction = 2 [default = 0.999]; optional float eps = 3 [default = 1e-5];
  optional FillerParameter scale_filler = 5; optional FillerParameter bias_filler = 6; optional bool scale_bias = 7;
}
message BiasParameter { optional int32 axis = 1 [default = 1]; optional int32 num_axes = 2 [default = 1]; optional FillerParameter filler = 3; }
message ClipParameter { optional float min = 1; optional float max = 2; }
message ConcatParameter { optional int32 axis = 2 [default = 1]; optional uint32 concat_dim = 1 [default = 1]; }
message ConvolutionParameter {
  enum Engine { DEFAULT = 0; CAFFE = 1; CUDNN = 2; }
  optional uint32 num_output = 1; optional bool bias_term = 2 [default = true]; repeated uint32 pad = 3; repeated uint32 kernel_size = 4;
  repeated uint32 stride = 6; repeated uint32 dilation = 18; optional uint32 pad_h = 9; optional uint32 pad_w = 10;
  optional uint32 kernel_h = 11; optional uint32 kernel_w = 12; optional uint32 stride_h = 13; optional uint32 stride_w = 14;
  optional uint32 group = 5 [default = 1]; optional FillerParameter weight_filler = 7; optional FillerParameter bias_filler = 8;
  optional Engine engine = 15; optional int32 axis = 16 [default = 1]; optional bool force_nd_im2col = 17;
}
message CropParameter { optional int32 axis = 1 [default = 2]; repeated uint32 offset = 2; }
message DataParameter { optional uint32 batch_size = 4; optional uint32 crop_size = 5; }
message DropoutParameter { optional float dropout_ratio = 1 [default = 0.5]; }
message DummyDataParameter {
  repeated FillerParameter data_filler = 1; repeated BlobShape shape = 6; repeated uint32 num = 2; repeated uint32 channels = 3;
  repeated uint32 height = 4; repeated uint32 width = 5;
}
message EltwiseParameter {
  enum EltwiseOp { PROD = 0; SUM = 1; MAX = 2; }
  optional EltwiseOp operation = 1 [default = SUM]; repeated float coeff = 2; optional bool stable_prod_grad = 3 [default = true];
}
message ELUParameter { optional float alpha = 1 [default = 1]; }
message EmbedParameter {
  optional uint32 num_output = 1; optional uint32 input_dim = 2; optional bool bias_term = 3 [default = true];
  optional FillerParameter weight_filler = 4; optional FillerParameter bias_filler = 5;
}
message ExpParameter { optional float base = 1 [default = -1]; optional float scale = 2 [default = 1]; optional float shift = 3; }
message FlattenParameter { optional int32 axis = 1 [default = 1]; optional int32 end_axis = 2 [default = -1]; }
message InnerProductParameter {
  optional uint32 num_output = 1; optional bool bias_term = 2 [default = true]; optional FillerParameter weight_filler = 3;
  optional FillerParameter bias_filler = 4; optional int32 axis = 5 [default = 1]; optional bool transpose = 6;
}
message InputParameter { repeated BlobShape shape = 1; }
message LogParameter { optional float base = 1 [default = -1]; optional float scale = 2 [default = 1]; optional float shift = 3; }
message LRNParameter {
  enum NormRegion { ACROSS_CHANNELS = 0; WITHIN_CHANNEL = 1; }
  optional uint32 local_size = 1 [default = 5]; optional float alpha = 2 [default = 1]; optional float beta = 3 [default = 0.75];
  optional NormRegion norm_region = 4; optional float k = 5 [default = 1]; optional ConvolutionParameter.Engine engine = 6;
}
message MemoryDataParameter { optional uint32 batch_size = 1; optional uint32 channels = 2; optional uint32 height = 3; optional uint32 width = 4; }
message MVNParameter {
  optional bool normalize_variance = 1 [default = true]; optional bool across_channels = 2; optional float eps = 3 [default = 1e-9];
}
message ParameterParameter { optional BlobShape shape = 1; }
message PoolingParameter {
  enum PoolMethod { MAX = 0; AVE = 1; STOCHASTIC = 2; }
  enum RoundMode { CEIL = 0; FLOOR = 1; }
  optional PoolMethod pool = 1; optional uint32 pad = 4; optional uint32 pad_h = 9; optional uint32 pad_w = 10;
  optional uint32 kernel_size = 2; optional uint32 kernel_h = 5; optional uint32 kernel_w = 6; optional uint32 stride = 3 [default = 1];
  optional uint32 stride_h = 7; optional uint32 stride_w = 8; optional ConvolutionParameter.Engine engine = 11;
  optional bool global_pooling = 12; optional RoundMode round_mode = 13; optional bool ceil_mode = 14 [default = true];
}
message PowerParameter { optional float power = 1 [default = 1]; optional float scale = 2 [default = 1]; optional float shift = 3; }
message PReLUParameter { optional FillerParameter filler = 1; optional bool channel_shared = 2; }
message PythonParameter { optional string module = 1; optional string layer = 2; optional string param_str = 3; optional bool share_in_parallel = 4; }
message RecurrentParameter {
  optional uint32 num_output = 1; optional FillerParameter weight_filler = 2; optional FillerParameter bias_filler = 3;
  optional bool debug_info = 4; optional bool expose_hidden = 5;
}
message ReductionParameter {
  enum ReductionOp { SUM = 1; ASUM = 2; SUMSQ = 3; MEAN = 4; }
  optional ReductionOp operation = 1 [default = SUM]; optional int32 axis = 2; optional float coeff = 3 [default = 1];
}
message ReLUParameter { optional float negative_slope = 1; optional ConvolutionParameter.Engine engine = 2; }
message ReshapeParameter { optional BlobShape shape = 1; optional int32 axis = 2; optional int32 num_axes = 3 [default = -1]; }
message ScaleParameter {
  optional int32 axis = 1 [default = 1]; optional int32 num_axes = 2 [default = 1]; optional FillerParameter filler = 3;
  optional bool bias_term = 4; optional FillerParameter bias_filler = 5;
}
message SoftmaxParameter { optional ConvolutionParameter.Engine engine = 1; optional int32 axis = 2 [default = 1]; }
message SPPParameter { optional uint32 pyramid_height = 1; optional PoolingParameter.PoolMethod pool = 2; optional ConvolutionParameter.Engine engine = 6; }
message SliceParameter { optional int32 axis = 3 [default = 1]; repeated uint32 slice_point = 2; optional uint32 slice_dim = 1 [default = 1]; }
message SwishParameter { optional float beta = 1 [default = 1]; }
message ThresholdParameter { optional float threshold = 1; }
message TileParameter { optional int32 axis = 1 [default = 1]; optional int32 tiles = 2; }
message ImageDataParameter {
  optional uint32 batch_size = 4; optional uint32 new_height = 9; optional uint32 new_width = 10; optional uint32 crop_size = 5;
  optional bool is_color = 11 [default = true];
}
message WindowDataParameter { optional uint32 batch_size = 4; optional uint32 crop_size = 5; }
message HDF5DataParameter { optional string source = 1; optional uint32 batch_size = 2; }
message PermuteParameter { repeated uint32 order = 1; }
message PriorBoxParameter {
  enum CodeType { CORNER = 1; CENTER_SIZE = 2; CORNER_SIZE = 3; }
  repeated float min_size = 1; repeated float max_size = 2; repeated float aspect_ratio = 3; optional bool flip = 4 [default = true];
  optional bool clip = 5; repeated float variance = 6; optional uint32 img_size = 7; optional uint32 img_h = 8; optional uint32 img_w = 9;
  optional float step = 10; optional float step_h = 11; optional float step_w = 12; optional float offset = 13 [default = 0.5];
}
message NonMaximumSuppressionParameter { optional float nms_threshold = 1 [default = 0.3]; optional int32 top_k = 2; optional float eta = 3 [default = 1]; }
message DetectionOutputParameter {
  optional uint32 num_classes = 1; optional bool share_location = 2 [default = true]; optional int32 background_label_id = 3;
  optional NonMaximumSuppressionParameter nms_param = 4; optional PriorBoxParameter.CodeType code_type = 6 [default = CORNER];
  optional bool variance_encoded_in_target = 8; optional int32 keep_top_k = 7 [default = -1]; optional float confidence_threshold = 9;
  optional SaveOutputParameter save_output_param = 5; optional bool visualize = 10; optional float visualize_threshold = 11;
  optional string save_file = 12;
}
message SaveOutputParameter {
  optional string output_directory = 1; optional string output_name_prefix = 2; optional string output_format = 3;
  optional string label_map_file = 4; optional string name_size_file = 5; optional uint32 num_test_image = 6;
}
message NormalizeParameter {
  optional bool across_spatial = 1 [default = true]; optional FillerParameter scale_filler = 2; optional bool channel_shared = 3 [default = true];
  optional float eps = 4 [default = 1e-10];
}
message ROIPoolingParameter { optional uint32 pooled_h = 1; optional uint32 pooled_w = 2; optional float spatial_scale = 3 [default = 1]; }
message ProposalParameter {
  optional uint32 feat_stride = 1 [default = 16]; optional uint32 base_size = 2 [default = 16]; optional uint32 min_size = 3 [default = 16];
  repeated float ratio = 4; repeated float scale = 5; optional uint32 pre_nms_topn = 6 [default = 6000];
  optional uint32 post_nms_topn = 7 [default = 300]; optional float nms_thresh = 8 [default = 0.7];
}
message InterpParameter {
  optional int32 height = 1; optional int32 width = 2; optional int32 zoom_factor = 3 [default = 1]; optional int32 shrink_factor = 4 [default = 1];
  optional int32 pad_beg = 5; optional int32 pad_end = 6;
}
message UpsampleParameter {
  optional int32 scale = 1 [default = 2]; optional int32 scale_h = 2; optional int32 scale_w = 3; optional bool pad_out_h = 4;
  optional bool pad_out_w = 5; optional int32 upsample_h = 6; optional int32 upsample_w = 7;
}
message ShuffleChannelParameter { optional uint32 group = 1 [default = 1]; }
"""
