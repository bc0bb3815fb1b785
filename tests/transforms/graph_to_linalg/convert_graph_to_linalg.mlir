// RUN: stepwell-opt %s -p 'stepwell-convert-graph-to-linalg' | filecheck %s
// RUN: stepwell-opt %s -p 'stepwell-convert-graph-to-linalg' | stepwell-opt | filecheck %s

// CHECK: stepwell.level = "linalg"
builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x6x6x3xf16>, %w: tensor<4x3x3x3xf16>, %b: tensor<4xf32>) -> (tensor<2x3x3x4xf16>, tensor<2x1x1x4xf16>) {
    // CHECK: graph.fusion "conv"
    %y = graph.fusion "conv" (%a = %x : tensor<2x6x6x3xf16>, %f = %w : tensor<4x3x3x3xf16>, %c = %b : tensor<4xf32>) -> (tensor<2x3x3x4xf16>) {
      // CHECK:      tensor.pad %{{.*}} low[0, 1, 1, 0] high[0, 0, 0, 0]
      // CHECK:      linalg.fill ins(%{{.*}} : f32) outs(%{{.*}} : tensor<2x3x3x4xf32>) -> tensor<2x3x3x4xf32>
      // CHECK-NEXT: linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, ((d1 * 2) + d4), ((d2 * 2) + d5), d6)>, affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d3, d4, d5, d6)>, affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
      // CHECK:      arith.extf %{{.*}} : f16 to f32
      // CHECK-NEXT: arith.extf %{{.*}} : f16 to f32
      // CHECK-NEXT: arith.mulf
      // CHECK-NEXT: arith.addf
      %0 = graph.conv %a, %f strides [2, 2] pads [1, 1, 0, 0] dilations [1, 1] channels_last : (tensor<2x6x6x3xf16>, tensor<4x3x3x3xf16>) -> tensor<2x3x3x4xf32> loc("conv")
      // CHECK:      linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>]
      %1 = graph.broadcast %c dims [3] : tensor<4xf32> -> tensor<2x3x3x4xf32> loc("bias")
      %2 = graph.binary add %0, %1 : (tensor<2x3x3x4xf32>, tensor<2x3x3x4xf32>) -> tensor<2x3x3x4xf32> loc("bias")
      %3 = graph.unary relu %2 : tensor<2x3x3x4xf32> -> tensor<2x3x3x4xf32> loc("act")
      // CHECK:      arith.truncf %{{.*}} : f32 to f16
      %4 = graph.cast %3 : tensor<2x3x3x4xf32> -> tensor<2x3x3x4xf16> loc("act")
      graph.yield %4 : tensor<2x3x3x4xf16>
    } loc("conv")
    // CHECK: graph.fusion "pool"
    %z = graph.fusion "pool" (%a = %y : tensor<2x3x3x4xf16>) -> (tensor<2x1x1x4xf16>) {
      // The window is a shape-only operand; padding of a maximum is minus infinity.
      // CHECK-NOT:  tensor.pad
      // CHECK:      %[[WINDOW:.*]] = tensor.empty() : tensor<3x3xf16>
      // CHECK:      arith.constant 0xfc00 : f16
      // CHECK:      linalg.generic {{.*}} ins(%{{.*}}, %[[WINDOW]] : tensor<2x3x3x4xf16>, tensor<3x3xf16>)
      // CHECK:      arith.maximumf
      %0 = graph.pool max %a kernel [3, 3] strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] channels_last : tensor<2x3x3x4xf16> -> tensor<2x1x1x4xf16> loc("pool")
      graph.yield %0 : tensor<2x1x1x4xf16>
    } loc("pool")
    func.return %y, %z : tensor<2x3x3x4xf16>, tensor<2x1x1x4xf16>
  }
}
