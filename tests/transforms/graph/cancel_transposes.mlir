// RUN: stepwell-opt %s -p 'graph-cancel-transposes' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-cancel-transposes' --remarks-filter graph-cancel-transposes 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: remark: [passed] graph-cancel-transposes: back: a transpose and its inverse cancel
// REMARK-DAG: remark: [passed] graph-cancel-transposes: fc: the transpose of turn moved into the weight's recipe
// REMARK-DAG: remark: [missed] graph-cancel-transposes: stay: a transpose stays: the other operand of mul is computed and not transposed

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x4x6x8xf32>, %y: tensor<2x8x4x6xf32>, %b: tensor<8xf32>) -> (tensor<2x4x6x8xf32>, tensor<2x5xf32>, tensor<2x8x4x6xf32>) {
    // An elementwise chain between a transpose and its inverse: the broadcast changes its dims.
    // CHECK:      [[BIAS:%.*]] = graph.broadcast %b dims [3] : tensor<8xf32> -> tensor<2x4x6x8xf32>
    // CHECK-NEXT: [[SUM:%.*]] = graph.binary add %x, [[BIAS]] : (tensor<2x4x6x8xf32>, tensor<2x4x6x8xf32>) -> tensor<2x4x6x8xf32>
    // CHECK-NEXT: [[RELU:%.*]] = graph.unary relu [[SUM]] : tensor<2x4x6x8xf32> -> tensor<2x4x6x8xf32>
    %0 = graph.transpose %x [0, 3, 1, 2] : tensor<2x4x6x8xf32> -> tensor<2x8x4x6xf32> loc("there")
    %1 = graph.broadcast %b dims [1] : tensor<8xf32> -> tensor<2x8x4x6xf32> loc("add")
    %2 = graph.binary add %0, %1 : (tensor<2x8x4x6xf32>, tensor<2x8x4x6xf32>) -> tensor<2x8x4x6xf32> loc("add")
    %3 = graph.unary relu %2 : tensor<2x8x4x6xf32> -> tensor<2x8x4x6xf32> loc("relu")
    %4 = graph.transpose %3 [0, 2, 3, 1] : tensor<2x8x4x6xf32> -> tensor<2x4x6x8xf32> loc("back")
    // A transpose flattened into a product: the rows of the weight are reordered.
    // CHECK:      [[FLAT:%.*]] = graph.reshape %x : tensor<2x4x6x8xf32> -> tensor<2x192xf32>
    // CHECK:      [[ROWS:%.*]] = graph.reshape %w : tensor<192x5xf32> -> tensor<8x4x6x5xf32>
    // CHECK-NEXT: [[TURN:%.*]] = graph.transpose [[ROWS]] [1, 2, 0, 3] : tensor<8x4x6x5xf32> -> tensor<4x6x8x5xf32>
    // CHECK-NEXT: [[W:%.*]] = graph.reshape [[TURN]] : tensor<4x6x8x5xf32> -> tensor<192x5xf32>
    // CHECK-NEXT: graph.matmul [[FLAT]], [[W]]
    %5 = graph.transpose %x [0, 3, 1, 2] : tensor<2x4x6x8xf32> -> tensor<2x8x4x6xf32> loc("turn")
    %6 = graph.reshape %5 : tensor<2x8x4x6xf32> -> tensor<2x192xf32> loc("flatten")
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<192x5xf32>, []> : tensor<192x5xf32> loc("w")
    %7 = graph.matmul %6, %w : (tensor<2x192xf32>, tensor<192x5xf32>) -> tensor<2x5xf32> loc("fc")
    // Refused: the other operand is computed and not transposed, so the transpose stays.
    // CHECK:      [[MOVED:%.*]] = graph.transpose %x [0, 3, 1, 2]
    // CHECK-NEXT: graph.binary mul [[MOVED]], %y
    %8 = graph.transpose %x [0, 3, 1, 2] : tensor<2x4x6x8xf32> -> tensor<2x8x4x6xf32> loc("stay")
    %9 = graph.binary mul %8, %y : (tensor<2x8x4x6xf32>, tensor<2x8x4x6xf32>) -> tensor<2x8x4x6xf32> loc("mul")
    func.return %4, %7, %9 : tensor<2x4x6x8xf32>, tensor<2x5xf32>, tensor<2x8x4x6xf32>
  }
}
