// RUN: stepwell-opt %s -p 'graph-fuse-attention' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-fuse-attention' --remarks-filter graph-fuse-attention 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: remark: [passed] graph-fuse-attention: y: one attention of scale 0.5, a mask: the scores are not stored
// REMARK-DAG: remark: [missed] graph-fuse-attention: y2: no attention: graph.softmax between the products is used by others too: its value is stored

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%q: tensor<2x3x5x4xf32>, %k: tensor<2x3x7x4xf32>, %v: tensor<2x3x7x6xf32>, %m: tensor<2x7xf32>) -> (tensor<2x3x5x6xf32>, tensor<2x3x5x6xf32>, tensor<2x3x5x7xf32>) {
    // CHECK-NOT:  graph.softmax
    // CHECK:      %[[MASK:.*]] = graph.reshape %m : tensor<2x7xf32> -> tensor<2x1x1x7xf32>
    // CHECK-NEXT: %{{.*}} = graph.attention %q, %k, %v bias %[[MASK]] : tensor<2x1x1x7xf32> scale 5.000000e-01 softcap 0.000000e+00 offset 0 window 0 ahead -1
    %half = graph.constant 0.5 : tensor<2x3x5x7xf32>
    %kt = graph.transpose %k [0, 1, 3, 2] : tensor<2x3x7x4xf32> -> tensor<2x3x4x7xf32>
    %s = graph.matmul %q, %kt : (tensor<2x3x5x4xf32>, tensor<2x3x4x7xf32>) -> tensor<2x3x5x7xf32> loc("s")
    %x = graph.binary mul %s, %half : (tensor<2x3x5x7xf32>, tensor<2x3x5x7xf32>) -> tensor<2x3x5x7xf32>
    %mask = graph.broadcast %m dims [0, 3] : tensor<2x7xf32> -> tensor<2x3x5x7xf32>
    %z = graph.binary add %x, %mask : (tensor<2x3x5x7xf32>, tensor<2x3x5x7xf32>) -> tensor<2x3x5x7xf32>
    %p = graph.softmax %z dims [3] : tensor<2x3x5x7xf32> -> tensor<2x3x5x7xf32>
    %y = graph.matmul %p, %v : (tensor<2x3x5x7xf32>, tensor<2x3x7x6xf32>) -> tensor<2x3x5x6xf32> loc("y")
    // Refused: the shares are an output.
    // CHECK:      graph.softmax
    // CHECK-NEXT: graph.matmul
    %s2 = graph.matmul %q, %k transpose_b : (tensor<2x3x5x4xf32>, tensor<2x3x7x4xf32>) -> tensor<2x3x5x7xf32> loc("s2")
    %p2 = graph.softmax %s2 dims [3] : tensor<2x3x5x7xf32> -> tensor<2x3x5x7xf32>
    %y2 = graph.matmul %p2, %v : (tensor<2x3x5x7xf32>, tensor<2x3x7x6xf32>) -> tensor<2x3x5x6xf32> loc("y2")
    func.return %y, %y2, %p2 : tensor<2x3x5x6xf32>, tensor<2x3x5x6xf32>, tensor<2x3x5x7xf32>
  }
}
