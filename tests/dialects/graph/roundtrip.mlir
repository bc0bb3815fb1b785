// RUN: stepwell-opt %s | stepwell-opt | filecheck %s
// RUN: stepwell-opt %s --print-op-generic | stepwell-opt | filecheck %s
// Every op without a region, as it is printed (test_round_trip_ops.py compares every line).
// CHECK: graph.constant [1, 2, 3] : tensor<3xi64>

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%a: tensor<2x3x4xf32>, %b: tensor<5x4xf32>, %c: tensor<2x3x4xi1>, %i: tensor<2x4x4xi32>, %u: tensor<4xui8>, %s: tensor<f32>, %x: tensor<1x4x9x9xf32>, %p: tensor<4xf32>, %n: tensor<3x1xi64>, %v: tensor<3x4xf32>, %r: tensor<?x4xf32, #graph.extents<["rows" * 1 in [0, 9] counted]>>, %h: tensor<2x3x4xf16>, %k: tensor<2xi64>, %z: tensor<2x8x1xf32>, %m: tensor<5x3x3xf32>, %q: tensor<4xi8>) {
    %0 = graph.constant [1, 2, 3] : tensor<3xi64>
    %1 = graph.constant 0.5 : tensor<64x64xf32>
    %2 = graph.constant [-inf, nan, -0.0, 1.0e-05] : tensor<4xf16>
    %3 = graph.constant [1, 0] : tensor<2xi1>
    %4 = graph.constant [448.0, -0.5] : tensor<2xf8E4M3FN>
    %5 = graph.constant -8 : tensor<i4>
    %6 = graph.constant 18446744073709551615 : tensor<ui64>
    %7 = graph.iota dim 1 : tensor<2x3xi64>
    %8 = graph.compare lt %a, %a : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xi1>
    %9 = graph.select %c, %a, %a : (tensor<2x3x4xi1>, tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
    %10 = graph.unary not %c : tensor<2x3x4xi1> -> tensor<2x3x4xi1>
    %11 = graph.binary shift_right %u, %u : (tensor<4xui8>, tensor<4xui8>) -> tensor<4xui8>
    %12 = graph.cast %p saturate : tensor<4xf32> -> tensor<4xf8E4M3FN>
    %13 = graph.cast %p rounding up : tensor<4xf32> -> tensor<4xf8E8M0FNU>
    %14 = graph.bitcast %p : tensor<4xf32> -> tensor<4xui32>
    %15 = graph.slice %x begins [0, 1, 0, 2] extents [1, 2, 9, 3] strides [1, 2, 1, 3] : tensor<1x4x9x9xf32> -> tensor<1x2x9x3xf32>
    %16 = graph.slice %r begins [0, 1] extents [-1, 2] strides [1, 1] : tensor<?x4xf32, #graph.extents<["rows" * 1 in [0, 9] counted]>> -> tensor<?x2xf32, #graph.extents<["rows" * 1 in [0, 9] counted]>>
    %17 = graph.reverse %a dims [0, 2] : tensor<2x3x4xf32> -> tensor<2x3x4xf32>
    %18 = graph.concat %b, %v dim 0 : (tensor<5x4xf32>, tensor<3x4xf32>) -> tensor<8x4xf32>
    %19 = graph.concat %b, %r dim 0 as "all" : (tensor<5x4xf32>, tensor<?x4xf32, #graph.extents<["rows" * 1 in [0, 9] counted]>>) -> tensor<?x4xf32, #graph.extents<["all" * 1 in [5, 14] counted]>>
    %20 = graph.pad %b, %s low [0, 1] high [2, 0] : (tensor<5x4xf32>, tensor<f32>) -> tensor<7x5xf32>
    %21 = graph.gather %b, %n batch 0 dims [0] : (tensor<5x4xf32>, tensor<3x1xi64>) -> tensor<3x4xf32>
    %22 = graph.scatter add %b, %n, %v batch 0 dims [0] : (tensor<5x4xf32>, tensor<3x1xi64>, tensor<3x4xf32>) -> tensor<5x4xf32>
    %23 = graph.reduce product %a dims [0, 2] : tensor<2x3x4xf32> -> tensor<3xf32>
    %24 = graph.arg_reduce min %a dim 1 last : tensor<2x3x4xf32> -> tensor<2x4xi64>
    %25 = graph.cumulative max %a dim 2 exclusive reverse : tensor<2x3x4xf32> -> tensor<2x3x4xf32>
    %26, %27 = graph.top_k %a dim 1 k 2 largest : (tensor<2x3x4xf32>) -> (tensor<2x2x4xf32>, tensor<2x2x4xi64>)
    %28 = graph.softmax %a dims [1, 2] log : tensor<2x3x4xf32> -> tensor<2x3x4xf32>
    %29, %30, %31 = graph.normalize %h dims [2] epsilon 1.000000e-05 center : (tensor<2x3x4xf16>) -> (tensor<2x3x4xf16>, tensor<2x3xf32>, tensor<2x3xf32>)
    %32 = graph.batch_norm %x, %p, %p, %p, %p dim 1 epsilon 1.000000e-05 : (tensor<1x4x9x9xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x4x9x9xf32>
    %33 = graph.lrn %x size 5 alpha 1.000000e-04 beta 7.500000e-01 k 1.000000e+00 channels_first : tensor<1x4x9x9xf32> -> tensor<1x4x9x9xf32>
    %34 = graph.quantize %b, %p, %q dims [1] block [1] : (tensor<5x4xf32>, tensor<4xf32>, tensor<4xi8>) -> tensor<5x4xi8>
    %35 = graph.dequantize %q, %p, %q dims [0] block [1] : (tensor<4xi8>, tensor<4xf32>, tensor<4xi8>) -> tensor<4xf16>
    %36 = graph.random %k : (tensor<2xi64>) -> tensor<3x5xf32>
    %37 = graph.dft %z dim 1 length 8 onesided : tensor<2x8x1xf32> -> tensor<2x5x2xf32>
    %38 = graph.determinant %m : tensor<5x3x3xf32> -> tensor<5xf32>
    %39 = graph.matmul %a, %a transpose_b : (tensor<2x3x4xf32>, tensor<2x3x4xf32>) -> tensor<2x3x3xf32>
    %40 = graph.pool sum %x kernel [2, 2] strides [2, 2] pads [0, 0, 0, 0] dilations [1, 1] channels_first : tensor<1x4x9x9xf32> -> tensor<1x4x4x4xf32>
    %41, %42 = graph.arg_pool %x kernel [2, 2] strides [2, 2] pads [0, 0, 0, 0] dilations [1, 1] channels_first : (tensor<1x4x9x9xf32>) -> (tensor<1x4x4x4xf32>, tensor<1x4x4x4xi64>)
    func.return
  }
}
