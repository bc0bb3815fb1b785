// RUN: stepwell-opt %s -p 'graph-expand-attention' --remarks-filter graph-expand-attention 2>&1 | filecheck %s
// RUN: stepwell-opt %s -p 'graph-expand-attention{kernels="f16"}' --remarks-filter graph-expand-attention 2>&1 | filecheck %s --check-prefix=WHY

// CHECK: remark: [missed] graph-expand-attention: {{.*}}expanded into products and a softmax: the target has no kernel for it
// CHECK: graph.matmul %{{.*}}, %k transpose_b : (tensor<1x2x15x4xf32>, tensor<1x2x7x4xf32>) -> tensor<1x2x15x7xf32>
// CHECK-NEXT: graph.reshape %{{.*}} : tensor<1x2x15x7xf32> -> tensor<1x6x5x7xf32>
// CHECK-NEXT: graph.broadcast %{{.*}} dims [2, 3] : tensor<5x7xf32> -> tensor<1x6x5x7xf32>
// CHECK-NEXT: graph.binary add
// CHECK-NEXT: graph.softmax
// CHECK-NEXT: graph.reshape %{{.*}} : tensor<1x6x5x7xf32> -> tensor<1x2x15x7xf32>
// CHECK-NEXT: graph.matmul %{{.*}}, %v
// WHY: expanded into products and a softmax: its kernel multiplies f16, this is f32 (precision=fp16 makes f16 of f32)

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%q: tensor<1x6x5x4xf32>, %k: tensor<1x2x7x4xf32>, %v: tensor<1x2x7x6xf32>) -> tensor<1x6x5x6xf32> {
    %y = graph.attention %q, %k, %v scale 1.0 softcap 0.0 causal offset 2 window 0 ahead -1 : tensor<1x6x5x4xf32>, tensor<1x2x7x4xf32>, tensor<1x2x7x6xf32> -> tensor<1x6x5x6xf32>
    func.return %y : tensor<1x6x5x6xf32>
  }
}
