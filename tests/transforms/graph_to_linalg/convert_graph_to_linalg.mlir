// RUN: stepwell-opt %s -split-input-file -p 'stepwell-convert-graph-to-linalg' | filecheck %s
// RUN: stepwell-opt %s -split-input-file -p 'stepwell-convert-graph-to-linalg' | stepwell-opt -split-input-file | filecheck %s

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
// -----
// Movement, choices and positions.
builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x6xf32>, %i: tensor<3x1xi64>) -> (tensor<2x4xf32>, tensor<3x6xf32>, tensor<2x6xf32>) {
    // CHECK: graph.fusion "parts"
    %y = graph.fusion "parts" (%a = %x : tensor<2x6xf32>) -> (tensor<2x4xf32>) {
      // CHECK:      tensor.extract_slice %{{.*}}[0, 1] [2, 2] [1, 3] : tensor<2x6xf32> to tensor<2x2xf32>
      %0 = graph.slice %a begins [0, 1] extents [2, 2] strides [1, 3] : tensor<2x6xf32> -> tensor<2x2xf32> loc("part")
      // CHECK:      linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, ((d1 * -1) + 1))>, affine_map<(d0, d1) -> (d0, d1)>]
      %1 = graph.reverse %0 dims [1] : tensor<2x2xf32> -> tensor<2x2xf32> loc("turn")
      // CHECK:      tensor.concat dim(1) %{{.*}}, %{{.*}} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x4xf32>
      %2 = graph.concat %0, %1 dim 1 : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x4xf32> loc("join")
      graph.yield %2 : tensor<2x4xf32>
    } loc("parts")
    // CHECK: graph.fusion "pick"
    %z = graph.fusion "pick" (%a = %x : tensor<2x6xf32>, %n = %i : tensor<3x1xi64>) -> (tensor<3x6xf32>) {
      // An index is clamped into its dim.
      // CHECK:      %[[ROW:.*]] = linalg.index 0 : index
      // CHECK:      tensor.extract %{{.*}}[%[[ROW]], %{{.*}}] : tensor<3x1xi64>
      // CHECK:      arith.maxsi
      // CHECK:      arith.minsi
      // CHECK:      tensor.extract %{{.*}}[%{{.*}}, %{{.*}}] : tensor<2x6xf32>
      %0 = graph.gather %a, %n batch 0 dims [0] : (tensor<2x6xf32>, tensor<3x1xi64>) -> tensor<3x6xf32> loc("pick")
      graph.yield %0 : tensor<3x6xf32>
    } loc("pick")
    // CHECK: graph.fusion "choose"
    %v = graph.fusion "choose" (%a = %x : tensor<2x6xf32>) -> (tensor<2x6xf32>) {
      // CHECK:      linalg.fill
      %0 = graph.constant 0.5 : tensor<2x6xf32> loc("half")
      // CHECK:      arith.cmpf olt
      %1 = graph.compare lt %a, %0 : (tensor<2x6xf32>, tensor<2x6xf32>) -> tensor<2x6xi1> loc("below")
      // CHECK:      arith.select
      %2 = graph.select %1, %a, %0 : (tensor<2x6xi1>, tensor<2x6xf32>, tensor<2x6xf32>) -> tensor<2x6xf32> loc("choose")
      graph.yield %2 : tensor<2x6xf32>
    } loc("choose")
    func.return %y, %z, %v : tensor<2x4xf32>, tensor<3x6xf32>, tensor<2x6xf32>
  }
}
