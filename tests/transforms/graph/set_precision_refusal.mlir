// RUN: not stepwell-opt %s -p 'graph-set-precision' 2>&1 | filecheck %s

// CHECK: error: relu: graph.unary is in no fusion
// CHECK: hint: run graph-fuse-single first

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
    %0 = graph.unary relu %x : tensor<2x4xf32> -> tensor<2x4xf32> loc("relu")
    func.return %0 : tensor<2x4xf32>
  }
}
