// RUN: stepwell-opt %s -p 'graph-remove-dead' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-remove-dead' --remarks-filter graph-remove-dead 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: remark: [passed] graph-remove-dead: tanh: removed graph.unary: its result is not used
// REMARK-DAG: remark: [missed] graph-remove-dead: module: input 'y' is read by nothing (hint: remove it from the model)
// REMARK-DAG: remark: [passed] graph-remove-dead: w: removed graph.weight: its result is not used

builtin.module attributes {stepwell.level = "graph"} {
  // CHECK:      func.func @main
  // CHECK-NEXT:   graph.unary relu %x
  // CHECK-NEXT:   func.return
  func.func @main(%x: tensor<2x4xf32> {stepwell.name = "x"}, %y: tensor<2x5xf32> {stepwell.name = "y"}) -> tensor<2x4xf32> {
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<5x4xf32>, []> : tensor<5x4xf32> loc("w")
    %0 = graph.matmul %x, %w transpose_b : (tensor<2x4xf32>, tensor<5x4xf32>) -> tensor<2x5xf32> loc("fc")
    %3 = graph.binary add %0, %y : (tensor<2x5xf32>, tensor<2x5xf32>) -> tensor<2x5xf32> loc("sum")
    %1 = graph.unary tanh %3 : tensor<2x5xf32> -> tensor<2x5xf32> loc("tanh")
    %2 = graph.unary relu %x : tensor<2x4xf32> -> tensor<2x4xf32> loc("relu")
    func.return %2 : tensor<2x4xf32>
  }
}
