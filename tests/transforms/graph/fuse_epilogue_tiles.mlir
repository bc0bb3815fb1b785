// RUN: stepwell-opt %s -p 'graph-fuse-epilogue' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-fuse-epilogue' --remarks-filter graph-fuse-epilogue 2>&1 | filecheck %s --check-prefix=REMARK

// A scale for each image runs along some of the rows (images, lines, columns), and an integer result has no tiles: both stay outside.
// REMARK-DAG: remark: [missed] graph-fuse-epilogue: conv: scale has an operand that runs along some of the product's rows only (hint: the product keeps its tiles, and matrix instructions where there are any)
// REMARK-DAG: remark: [missed] graph-fuse-epilogue: fc: whole makes elements of type i32 (hint: the product keeps its tiles, and matrix instructions where there are any)
// REMARK-DAG: remark: [passed] graph-fuse-epilogue: fc: fused bias add into matmul: one kernel in place of 2

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x4x4x8xf32>, %w: tensor<8x3x3x8xf32>, %s: tensor<2xf32>, %y: tensor<3x8xf32>, %v: tensor<5x8xf32>, %c: tensor<3xf32>) -> (tensor<2x4x4x8xf32>, tensor<3x5xi32>) {
    // CHECK:      graph.fusion "conv"
    // CHECK-NEXT:   graph.conv
    // CHECK-NEXT:   graph.yield
    // CHECK:      graph.binary mul
    %0 = graph.conv %x, %w strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] channels_last : (tensor<2x4x4x8xf32>, tensor<8x3x3x8xf32>) -> tensor<2x4x4x8xf32> loc("conv")
    %1 = graph.broadcast %s dims [0] : tensor<2xf32> -> tensor<2x4x4x8xf32> loc("scale")
    %2 = graph.binary mul %0, %1 : (tensor<2x4x4x8xf32>, tensor<2x4x4x8xf32>) -> tensor<2x4x4x8xf32> loc("scale")
    // One number for each of all rows goes along.
    // CHECK:      graph.fusion "fc"
    // CHECK-NEXT:   graph.matmul
    // CHECK-NEXT:   graph.broadcast {{.*}} dims [0]
    // CHECK-NEXT:   graph.binary add
    // CHECK-NEXT:   graph.yield
    // CHECK:      graph.cast
    %3 = graph.matmul %y, %v transpose_b : (tensor<3x8xf32>, tensor<5x8xf32>) -> tensor<3x5xf32> loc("fc")
    %4 = graph.broadcast %c dims [0] : tensor<3xf32> -> tensor<3x5xf32> loc("fc")
    %5 = graph.binary add %3, %4 : (tensor<3x5xf32>, tensor<3x5xf32>) -> tensor<3x5xf32> loc("fc")
    %6 = graph.cast %5 : tensor<3x5xf32> -> tensor<3x5xi32> loc("whole")
    func.return %2, %6 : tensor<2x4x4x8xf32>, tensor<3x5xi32>
  }
}
