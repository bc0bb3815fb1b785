// RUN: stepwell-opt %s -p 'graph-fold-constants' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-fold-constants' --remarks-filter graph-fold-constants 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: remark: [passed] graph-fold-constants: fc: its filter became a weight
// REMARK-DAG: remark: [missed] graph-fold-constants: last: its filter is made of a weight that is not given (hint: --weights FILE)

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x3xf32>) -> tensor<2x4xf32> {
    // CHECK-NOT:  graph.constant
    // CHECK:      [[W:%.*]] = graph.weight #graph.weight<"fc.filter#
    // CHECK-NEXT: graph.matmul %x, [[W]]
    %c = graph.constant 0.5 : tensor<f32>
    %w = graph.broadcast %c dims [] : tensor<f32> -> tensor<3x4xf32>
    %y = graph.matmul %x, %w : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32> loc("fc")
    // CHECK:      graph.broadcast
    // CHECK-NEXT: graph.matmul
    %v = graph.weight #graph.weight<"row", "0000000000000000000000000000000000000000000000000000000000000000", tensor<4xf32>, []> : tensor<4xf32>
    %r = graph.broadcast %v dims [1] : tensor<4xf32> -> tensor<4x4xf32>
    %z = graph.matmul %y, %r : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32> loc("last")
    func.return %z : tensor<2x4xf32>
  }
}
