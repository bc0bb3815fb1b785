// RUN: stepwell-opt %s -p graph-fuse-single,graph-set-precision{type=f16} --remarks-filter precision | filecheck %s
// RUN: stepwell-opt %s -p graph-fuse-single,graph-set-precision{type=f16},stepwell-convert-graph-to-linalg | filecheck %s --check-prefix LINALG

// What is written as plain loops stays as it is; its neighbours convert what they read and give.
// CHECK: graph.fusion "before"
// CHECK-SAME: -> (tensor<3x4xf32>)
// CHECK: graph.fusion "scan" (%{{.*}} = %{{.*}} : tensor<3x4xf32>) -> (tensor<3x4xf32>) {
// CHECK-NEXT: graph.cumulative sum %{{.*}} : tensor<3x4xf32> -> tensor<3x4xf32>
// CHECK-NEXT: graph.yield
// CHECK: graph.fusion "after"
// LINALG: graph.cumulative
builtin.module {
func.func @main(%x: tensor<3x4xf32>, %w: tensor<4x4xf32>) -> tensor<3x4xf32> {
  %0 = graph.matmul %x, %w : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32> loc("before")
  %1 = graph.cumulative sum %0 dim 1 : tensor<3x4xf32> -> tensor<3x4xf32> loc("scan")
  %2 = graph.matmul %1, %w : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32> loc("after")
  func.return %2 : tensor<3x4xf32>
}
}
