// RUN: stepwell-opt %s -p 'graph-fuse-epilogue' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-fuse-epilogue' --remarks-filter graph-fuse-epilogue 2>&1 | filecheck %s --check-prefix=REMARK
// RUN: stepwell-opt %s -p 'graph-fuse-epilogue{residual=false}' --remarks-filter graph-fuse-epilogue 2>&1 | filecheck %s --check-prefix=PLAIN
// RUN: stepwell-opt %s -p 'graph-fuse-epilogue{no-fuse="relu"}' --remarks-filter graph-fuse-epilogue 2>&1 | filecheck %s --check-prefix=EXCLUDED

// REMARK-DAG: remark: [passed] graph-fuse-epilogue: conv: fused bias add, residual add, relu into conv: one kernel in place of 4
// REMARK-DAG: remark: [missed] graph-fuse-epilogue: fc: fc is used by tanh and neg: its value is stored
// PLAIN-DAG: remark: [missed] graph-fuse-epilogue: conv: sum has a computed second operand (hint: set the option residual to true)
// EXCLUDED-DAG: remark: [missed] graph-fuse-epilogue: conv: relu is excluded (hint: remove it from the option no-fuse)

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x4x4x8xf32>, %y: tensor<2x8xf32>) -> (tensor<2x4x4x8xf32>, tensor<2x5xf32>, tensor<2x5xf32>, tensor<2x5xf32>, tensor<2x5xi1>) {
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<8x3x3x8xf32>, []> : tensor<8x3x3x8xf32> loc("w")
    %b = graph.weight #graph.weight<"b", "0000000000000000000000000000000000000000000000000000000000000000", tensor<8xf32>, []> : tensor<8xf32> loc("b")
    // CHECK:      graph.fusion "conv" (%x_1 = %x : tensor<2x4x4x8xf32>, %w_1 = %w : tensor<8x3x3x8xf32>, %b_1 = %b : tensor<8xf32>) -> (tensor<2x4x4x8xf32>) {
    // CHECK-NEXT:   graph.conv %x_1, %w_1
    // CHECK-NEXT:   graph.broadcast %b_1 dims [3]
    // CHECK-NEXT:   graph.binary add
    // CHECK-NEXT:   graph.binary add {{.*}}, %x_1
    // CHECK-NEXT:   graph.unary relu
    // CHECK-NEXT:   graph.yield
    // CHECK-NEXT: }
    %0 = graph.conv %x, %w strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] channels_last : (tensor<2x4x4x8xf32>, tensor<8x3x3x8xf32>) -> tensor<2x4x4x8xf32> loc("conv")
    %1 = graph.broadcast %b dims [3] : tensor<8xf32> -> tensor<2x4x4x8xf32> loc("conv")
    %2 = graph.binary add %0, %1 : (tensor<2x4x4x8xf32>, tensor<2x4x4x8xf32>) -> tensor<2x4x4x8xf32> loc("conv")
    %3 = graph.binary add %2, %x : (tensor<2x4x4x8xf32>, tensor<2x4x4x8xf32>) -> tensor<2x4x4x8xf32> loc("sum")
    %4 = graph.unary relu %3 : tensor<2x4x4x8xf32> -> tensor<2x4x4x8xf32> loc("relu")
    // Refused: the product has two users, so its value is stored; it gets a fusion without an epilogue.
    // CHECK:      graph.fusion "fc"
    // CHECK-NEXT:   graph.matmul
    // CHECK-NEXT:   graph.yield
    // CHECK:      graph.unary tanh
    // CHECK-NEXT: graph.unary neg
    %v = graph.weight #graph.weight<"v", "0000000000000000000000000000000000000000000000000000000000000000", tensor<5x8xf32>, []> : tensor<5x8xf32> loc("v")
    %5 = graph.matmul %y, %v transpose_b : (tensor<2x8xf32>, tensor<5x8xf32>) -> tensor<2x5xf32> loc("fc")
    %6 = graph.unary tanh %5 : tensor<2x5xf32> -> tensor<2x5xf32> loc("tanh")
    %7 = graph.unary neg %5 : tensor<2x5xf32> -> tensor<2x5xf32> loc("neg")
    // A function of the product's value that reads it several times goes in whole, with its constants; a comparison alone is no result of it.
    // CHECK:      graph.fusion "leaky" (%y_1 = %y : tensor<2x8xf32>, %v_1 = %v : tensor<5x8xf32>) -> (tensor<2x5xf32>) {
    // CHECK-NEXT:   graph.matmul
    // CHECK-DAG:    graph.constant 0.0
    // CHECK-DAG:    graph.constant 0.5
    // CHECK:        graph.select
    // CHECK-NEXT:   graph.unary neg
    // CHECK-NEXT:   graph.yield
    // CHECK:      graph.fusion "above"
    // CHECK-NEXT:   graph.matmul
    // CHECK-NEXT:   graph.yield
    // CHECK:      graph.compare gt
    %zero = graph.constant 0.0 : tensor<2x5xf32>
    %half = graph.constant 0.5 : tensor<2x5xf32>
    %8 = graph.matmul %y, %v transpose_b : (tensor<2x8xf32>, tensor<5x8xf32>) -> tensor<2x5xf32> loc("leaky")
    %9 = graph.compare gt %8, %zero : (tensor<2x5xf32>, tensor<2x5xf32>) -> tensor<2x5xi1> loc("positive")
    %10 = graph.binary mul %8, %half : (tensor<2x5xf32>, tensor<2x5xf32>) -> tensor<2x5xf32> loc("slope")
    %11 = graph.select %9, %8, %10 : (tensor<2x5xi1>, tensor<2x5xf32>, tensor<2x5xf32>) -> tensor<2x5xf32> loc("leaky")
    %12 = graph.unary neg %11 : tensor<2x5xf32> -> tensor<2x5xf32> loc("leaky")
    %13 = graph.matmul %y, %v transpose_b : (tensor<2x8xf32>, tensor<5x8xf32>) -> tensor<2x5xf32> loc("above")
    %14 = graph.compare gt %13, %zero : (tensor<2x5xf32>, tensor<2x5xf32>) -> tensor<2x5xi1> loc("above")
    func.return %4, %6, %7, %12, %14 : tensor<2x4x4x8xf32>, tensor<2x5xf32>, tensor<2x5xf32>, tensor<2x5xf32>, tensor<2x5xi1>
  }
}
