// RUN: stepwell-opt %s -p graph-fuse-single,stepwell-convert-graph-to-linalg,linalg-choose-config,stepwell-convert-linalg-to-tile | filecheck %s

// CHECK: %[[a:.*]] = tile.apply @first(%{{.*}}) : (tensor<3x4xf32>) -> tensor<3x4xf32>
// CHECK: tile.apply @second(%[[a]]) : (tensor<3x4xf32>) -> tensor<3x4xf32>
builtin.module attributes {stepwell.target = "cpu", stepwell.cpu = "x86-64-v3"} {
func.func @main(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %0 = graph.cumulative sum %x dim 1 : tensor<3x4xf32> -> tensor<3x4xf32> loc("first")
  %1 = graph.cumulative max %0 dim 0 : tensor<3x4xf32> -> tensor<3x4xf32> loc("second")
  func.return %1 : tensor<3x4xf32>
}
}
