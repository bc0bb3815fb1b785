// A remark on ops that were fused (fc + act) is expected at the line of any of them, and at no other.
// RUN: stepwell-opt %s -p 'graph-fuse-epilogue,graph-set-precision{type=f16}' --verify-diagnostics -split-input-file
// RUN: not stepwell-opt %s -p graph-fuse-epilogue --verify-diagnostics -split-input-file 2>&1 | filecheck %s
// CHECK: line 12: expected remark "reads an input" was not produced
// CHECK-NEXT: line 22: expected remark "reads an input" was not produced

func.func @main(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) -> tensor<2x4xf32> {
  // expected-remark@+1 {{fused relu}}
  %0 = graph.matmul %x, %w transpose_b : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32> loc("fc")

  // expected-remark@+1 {{reads an input}}
  %1 = graph.unary relu %0 : tensor<2x4xf32> -> tensor<2x4xf32> loc("act")
  func.return %1 : tensor<2x4xf32>
}

// -----

func.func @main(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) -> tensor<2x4xf32> {

  // expected-remark@+2 {{fused relu}}
  // expected-remark@+1 {{reads an input}}
  %0 = graph.matmul %x, %w transpose_b : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32> loc("fc")
  %1 = graph.unary relu %0 : tensor<2x4xf32> -> tensor<2x4xf32> loc("act")
  func.return %1 : tensor<2x4xf32>
}
