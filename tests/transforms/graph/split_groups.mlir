// RUN: stepwell-opt %s -p 'graph-split-groups' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-split-groups{most=2}' --remarks-filter graph-split-groups 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: remark: [passed] graph-split-groups: two: became 2 convolutions
// REMARK-DAG: remark: [missed] graph-split-groups: four: 4 groups stay together: more than 2 convolutions cost more than they save (hint: set the option most)

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<1x4x4x8xf32>, %f: tensor<8x1x1x2xf32>) -> (tensor<1x4x4x6xf32>, tensor<1x4x4x8xf32>, tensor<1x4x4x8xf32>) {
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<6x3x3x4xf32>, []> : tensor<6x3x3x4xf32> loc("w")
    %b = graph.weight #graph.weight<"b", "0000000000000000000000000000000000000000000000000000000000000000", tensor<6xf32>, []> : tensor<6xf32> loc("b")
    // CHECK:      [[X0:%.*]] = graph.slice %x begins [0, 0, 0, 0] extents [1, 4, 4, 4]
    // CHECK-NEXT: [[W0:%.*]] = graph.weight {{.*}}#graph.step<"slice", [0, 0, 3]>
    // CHECK-NEXT: [[Y0:%.*]] = graph.conv [[X0]], [[W0]]
    // CHECK-NEXT: graph.weight {{.*}}#graph.step<"slice", [0, 0, 3]>
    // CHECK-NEXT: graph.broadcast
    // CHECK-NEXT: graph.binary add {{.*}}, [[Y0]]
    // CHECK-NEXT: [[R0:%.*]] = graph.unary relu
    // CHECK-NEXT: graph.slice %x begins [0, 0, 0, 4] extents [1, 4, 4, 4]
    // CHECK:      [[R1:%.*]] = graph.unary relu
    // CHECK-NEXT: graph.concat [[R0]], [[R1]] dim 3
    %0 = graph.conv %x, %w strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] groups 2 channels_last : (tensor<1x4x4x8xf32>, tensor<6x3x3x4xf32>) -> tensor<1x4x4x6xf32> loc("two")
    %1 = graph.broadcast %b dims [3] : tensor<6xf32> -> tensor<1x4x4x6xf32> loc("bias")
    %2 = graph.binary add %1, %0 : (tensor<1x4x4x6xf32>, tensor<1x4x4x6xf32>) -> tensor<1x4x4x6xf32> loc("bias")
    %3 = graph.unary relu %2 : tensor<1x4x4x6xf32> -> tensor<1x4x4x6xf32> loc("relu")
    // A filter that is computed is cut by slices.
    // CHECK:      graph.slice %f begins [0, 0, 0, 0] extents [2, 1, 1, 2]
    %4 = graph.conv %x, %f strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] groups 4 channels_last : (tensor<1x4x4x8xf32>, tensor<8x1x1x2xf32>) -> tensor<1x4x4x8xf32> loc("four")
    // Depthwise stays.
    // CHECK:      graph.conv {{.*}}groups 8
    %v = graph.weight #graph.weight<"v", "0000000000000000000000000000000000000000000000000000000000000000", tensor<8x3x3x1xf32>, []> : tensor<8x3x3x1xf32> loc("v")
    %5 = graph.conv %x, %v strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] groups 8 channels_last : (tensor<1x4x4x8xf32>, tensor<8x3x3x1xf32>) -> tensor<1x4x4x8xf32> loc("depth")
    func.return %3, %4, %5 : tensor<1x4x4x6xf32>, tensor<1x4x4x8xf32>, tensor<1x4x4x8xf32>
  }
}
