// RUN: stepwell-opt %s -p 'graph-fuse-maps' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-fuse-maps' --remarks-filter graph-fuse-maps 2>&1 | filecheck %s --check-prefix=REMARK
// RUN: stepwell-opt %s -p 'graph-fuse-maps{no-fuse="add"}' | filecheck %s --check-prefix=EXCLUDED

// REMARK-DAG: remark: [passed] graph-fuse-maps: mul: fused mul, add, relu: one kernel in place of 3
// REMARK-DAG: remark: [missed] graph-fuse-maps: mul: sub stays out: some operands vary along dims [0], others along [1]: a kernel has tiles for one of them
// EXCLUDED-NOT: graph.fusion "mul"

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x4xf32>, %s: tensor<4xf32>, %r: tensor<2xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>) {
    // CHECK:      graph.fusion "mul" (%x_1 = %x : tensor<2x4xf32>, %s_1 = %s : tensor<4xf32>)
    // CHECK-NEXT:   graph.broadcast %s_1 dims [1]
    // CHECK-NEXT:   graph.binary mul
    // CHECK-NEXT:   graph.binary add
    // CHECK-NEXT:   graph.unary relu
    // CHECK-NEXT:   graph.yield
    %0 = graph.broadcast %s dims [1] : tensor<4xf32> -> tensor<2x4xf32>
    %1 = graph.binary mul %x, %0 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("mul")
    %2 = graph.binary add %1, %0 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("add")
    %3 = graph.unary relu %2 : tensor<2x4xf32> -> tensor<2x4xf32> loc("relu")
    // Operands along other dims begin another kernel, and a value with two users is stored.
    // CHECK-NOT:  graph.fusion
    // CHECK:      graph.binary sub
    // CHECK-NEXT: graph.unary tanh
    // CHECK-NEXT: graph.unary exp
    %4 = graph.broadcast %r dims [0] : tensor<2xf32> -> tensor<2x4xf32>
    %5 = graph.binary sub %3, %4 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("sub")
    %6 = graph.unary tanh %5 : tensor<2x4xf32> -> tensor<2x4xf32> loc("tanh")
    %7 = graph.unary exp %5 : tensor<2x4xf32> -> tensor<2x4xf32> loc("exp")
    func.return %5, %6, %7 : tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>
  }
}
