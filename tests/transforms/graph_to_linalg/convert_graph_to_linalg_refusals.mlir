// RUN: not stepwell-opt %s -p 'stepwell-convert-graph-to-linalg' 2>&1 | filecheck %s

// CHECK: error: act: graph.unary stands outside of a graph.fusion
// CHECK-NEXT: hint: run graph-fuse-single before
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = graph.unary relu %x : tensor<4xf32> -> tensor<4xf32> loc("act")
  func.return %y : tensor<4xf32>
}
