// RUN: stepwell-opt %s -p 'graph-fuse-single' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-fuse-single' --remarks-filter graph-fuse-single 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: remark: [passed] graph-fuse-single: pool: graph.pool is a kernel of its own
// REMARK-DAG: remark: [missed] graph-fuse-single: turn: a transpose remains: one kernel that only moves 64 elements (hint: no op behind it commutes with it, or it is an output of the network)

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x8x8x8xf32>, %b: tensor<8xf32>) -> (tensor<2x32xf32>, tensor<8x8xf32>, tensor<2x8x8x8xf32>) {
    // CHECK:      [[POOL:%.*]] = graph.fusion "pool" (%x_1 = %x : tensor<2x8x8x8xf32>) -> (tensor<2x2x2x8xf32>) {
    // CHECK-NEXT:   graph.pool max %x_1
    // CHECK-NEXT:   graph.yield
    // CHECK-NEXT: }
    // CHECK-NEXT: graph.reshape [[POOL]] : tensor<2x2x2x8xf32> -> tensor<2x32xf32>
    %0 = graph.pool max %x kernel [4, 4] strides [4, 4] pads [0, 0, 0, 0] dilations [1, 1] channels_last : tensor<2x8x8x8xf32> -> tensor<2x2x2x8xf32> loc("pool")
    %1 = graph.reshape %0 : tensor<2x2x2x8xf32> -> tensor<2x32xf32> loc("flatten")
    // CHECK:      graph.fusion "turn"
    %2 = graph.broadcast %b dims [0] : tensor<8xf32> -> tensor<8x8xf32> loc("repeat")
    %3 = graph.transpose %2 [1, 0] : tensor<8x8xf32> -> tensor<8x8xf32> loc("turn")
    // The broadcast goes into the fusion that uses it.
    // CHECK:      graph.fusion "scale" (%x_1 = %x : tensor<2x8x8x8xf32>, %b_1 = %b : tensor<8xf32>)
    // CHECK-NEXT:   graph.broadcast %b_1 dims [3]
    // CHECK-NEXT:   graph.binary mul
    %4 = graph.broadcast %b dims [3] : tensor<8xf32> -> tensor<2x8x8x8xf32> loc("scale")
    %5 = graph.binary mul %x, %4 : (tensor<2x8x8x8xf32>, tensor<2x8x8x8xf32>) -> tensor<2x8x8x8xf32> loc("scale")
    func.return %1, %3, %5 : tensor<2x32xf32>, tensor<8x8xf32>, tensor<2x8x8x8xf32>
  }
}
