// RUN: stepwell-opt %s -p 'graph-assign-layout' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-assign-layout' --remarks-filter graph-assign-layout 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: remark: [passed] graph-assign-layout: conv: laid out channels_last
// REMARK-DAG: remark: [passed] graph-assign-layout: fc: the weight is read as [N, K]
// REMARK-DAG: remark: [missed] graph-assign-layout: gram: the right operand stays [K, N]: it is computed, so turning it would move data (hint: kernels read [N, K]; give the model the transposed operand)

builtin.module attributes {stepwell.level = "graph"} {
  // CHECK-LABEL: func.func @main
  func.func @main(%x: tensor<2x3x8x8xf32>, %y: tensor<5x6xf32>) -> (tensor<2x4x4x4xf32>, tensor<2x5xf32>, tensor<5x6xf32>) {
    // CHECK:      graph.transpose %x [0, 2, 3, 1] : tensor<2x3x8x8xf32> -> tensor<2x8x8x3xf32>
    // CHECK:      graph.transpose %w [0, 2, 3, 1] : tensor<4x3x3x3xf32> -> tensor<4x3x3x3xf32>
    // CHECK:      graph.conv {{.*}} strides [2, 2] pads [1, 1, 1, 1] dilations [1, 1] channels_last : (tensor<2x8x8x3xf32>, tensor<4x3x3x3xf32>) -> tensor<2x4x4x4xf32>
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<4x3x3x3xf32>, []> : tensor<4x3x3x3xf32> loc("w")
    %c = graph.conv %x, %w strides [2, 2] pads [1, 1, 1, 1] dilations [1, 1] channels_first : (tensor<2x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<2x4x4x4xf32> loc("conv")
    // The pool's transpose cancels the convolution's.
    // CHECK-NOT:  graph.transpose
    // CHECK:      %p = graph.pool max {{.*}} channels_last : tensor<2x4x4x4xf32> -> tensor<2x4x4x4xf32>
    %p = graph.pool max %c kernel [3, 3] strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] channels_first : tensor<2x4x4x4xf32> -> tensor<2x4x4x4xf32> loc("pool")
    // The flattened transpose goes into the weight: only recipes change between pool and product.
    // CHECK:      [[FLAT:%.*]] = graph.reshape %p{{.*}} : tensor<2x4x4x4xf32> -> tensor<2x64xf32>
    // CHECK:      graph.transpose {{.*}} [0, 2, 3, 1] : tensor<5x4x4x4xf32> -> tensor<5x4x4x4xf32>
    // CHECK:      graph.matmul {{.*}} transpose_b : (tensor<2x64xf32>, tensor<5x64xf32>) -> tensor<2x5xf32>
    %f = graph.reshape %p : tensor<2x4x4x4xf32> -> tensor<2x64xf32> loc("flatten")
    %v = graph.weight #graph.weight<"v", "0000000000000000000000000000000000000000000000000000000000000000", tensor<64x5xf32>, []> : tensor<64x5xf32> loc("v")
    %m = graph.matmul %f, %v : (tensor<2x64xf32>, tensor<64x5xf32>) -> tensor<2x5xf32> loc("fc")
    // CHECK:      graph.matmul {{.*}}, %y : (tensor<5x5xf32>, tensor<5x6xf32>) -> tensor<5x6xf32>
    %s = graph.weight #graph.weight<"s", "0000000000000000000000000000000000000000000000000000000000000000", tensor<5x5xf32>, []> : tensor<5x5xf32> loc("s")
    %g = graph.matmul %s, %y : (tensor<5x5xf32>, tensor<5x6xf32>) -> tensor<5x6xf32> loc("gram")
    func.return %p, %m, %g : tensor<2x4x4x4xf32>, tensor<2x5xf32>, tensor<5x6xf32>
  }
}
