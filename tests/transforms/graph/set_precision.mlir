// RUN: stepwell-opt %s -p 'graph-set-precision' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-set-precision' --remarks-filter graph-set-precision 2>&1 | filecheck %s --check-prefix=REMARK
// RUN: stepwell-opt %s -p 'graph-set-precision{keep="fc*"}' | filecheck %s --check-prefix=KEEP
// RUN: not stepwell-opt %s -p 'graph-set-precision{type=f8}' 2>&1 | filecheck %s --check-prefix=TYPE

// REMARK-DAG: remark: [analysis] graph-set-precision: stem: multiplies f32: it reads an input of the network, which keeps its type
// REMARK-DAG: remark: [passed] graph-set-precision: fc1: multiplies f16, adds in f32
// TYPE: error: graph-set-precision: cannot compute in 'f8'

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x8xf32>) -> (tensor<2x5xf32>, tensor<2x6xf32>) {
    // CHECK:      %a = graph.weight {{.*}} : tensor<6x8xf32>
    %a = graph.weight #graph.weight<"a", "0000000000000000000000000000000000000000000000000000000000000000", tensor<6x8xf32>, []> : tensor<6x8xf32> loc("a")
    // An output that is used inside too leaves in both types.
    // CHECK:      [[FULL:%.*]], [[HALF:%.*]] = graph.fusion "stem" ({{.*}} : tensor<2x8xf32>, {{.*}} : tensor<6x8xf32>) -> (tensor<2x6xf32>, tensor<2x6xf16>) {
    // KEEP:       graph.fusion "stem" ({{.*}} : tensor<2x8xf32>, {{.*}} : tensor<6x8xf32>) -> (tensor<2x6xf32>) {
    %0 = graph.fusion "stem" (%p = %x : tensor<2x8xf32>, %q = %a : tensor<6x8xf32>) -> (tensor<2x6xf32>) {
      %m = graph.matmul %p, %q transpose_b : (tensor<2x8xf32>, tensor<6x8xf32>) -> tensor<2x6xf32> loc("stem")
      graph.yield %m : tensor<2x6xf32> loc("stem")
    } loc("stem")
    // CHECK:      [[VIEW:%.*]] = graph.reshape [[HALF]] : tensor<2x6xf16> -> tensor<4x3xf16>
    // CHECK:      [[W:%.*]] = graph.weight {{.*}}[#graph.step<"cast", ["f16"]>]> : tensor<5x3xf16>
    // CHECK-NEXT: %b = graph.weight {{.*}} : tensor<5xf32>
    %1 = graph.reshape %0 : tensor<2x6xf32> -> tensor<4x3xf32> loc("view")
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<5x3xf32>, []> : tensor<5x3xf32> loc("w")
    %b = graph.weight #graph.weight<"b", "0000000000000000000000000000000000000000000000000000000000000000", tensor<5xf32>, []> : tensor<5xf32> loc("b")
    // CHECK:      graph.fusion "fc1" ({{.*}} = [[VIEW]] : tensor<4x3xf16>, {{.*}} : tensor<5x3xf16>, {{.*}} : tensor<5xf32>) -> (tensor<4x5xf16>) {
    // CHECK-NEXT:   graph.matmul {{.*}} transpose_b : (tensor<4x3xf16>, tensor<5x3xf16>) -> tensor<4x5xf32>
    // CHECK-NEXT:   graph.broadcast
    // CHECK-NEXT:   graph.binary add {{.*}} -> tensor<4x5xf32>
    // CHECK-NEXT:   [[Y:%.*]] = graph.cast {{.*}} : tensor<4x5xf32> -> tensor<4x5xf16>
    // CHECK-NEXT:   graph.yield [[Y]] : tensor<4x5xf16>
    // KEEP:       graph.fusion "fc1" ({{.*}} : tensor<4x3xf32>, {{.*}} : tensor<5x3xf32>, {{.*}} : tensor<5xf32>) -> (tensor<4x5xf16>) {
    %2 = graph.fusion "fc1" (%p = %1 : tensor<4x3xf32>, %q = %w : tensor<5x3xf32>, %r = %b : tensor<5xf32>) -> (tensor<4x5xf32>) {
      %m = graph.matmul %p, %q transpose_b : (tensor<4x3xf32>, tensor<5x3xf32>) -> tensor<4x5xf32> loc("fc1")
      %s = graph.broadcast %r dims [1] : tensor<5xf32> -> tensor<4x5xf32> loc("fc1")
      %t = graph.binary add %m, %s : (tensor<4x5xf32>, tensor<4x5xf32>) -> tensor<4x5xf32> loc("fc1")
      graph.yield %t : tensor<4x5xf32> loc("fc1")
    } loc("fc1")
    // A maximum pool moves f16 as it is; the network's output stays f32.
    // CHECK:      graph.fusion "pool" ({{.*}} : tensor<1x4x5xf16>) -> (tensor<1x2x5xf32>) {
    // CHECK-NEXT:   graph.pool max {{.*}} : tensor<1x4x5xf16> -> tensor<1x2x5xf16>
    // CHECK-NEXT:   graph.cast
    %3 = graph.reshape %2 : tensor<4x5xf32> -> tensor<1x4x5xf32> loc("as_image")
    %4 = graph.fusion "pool" (%p = %3 : tensor<1x4x5xf32>) -> (tensor<1x2x5xf32>) {
      %m = graph.pool max %p kernel [2] strides [2] pads [0, 0] dilations [1] channels_last : tensor<1x4x5xf32> -> tensor<1x2x5xf32> loc("pool")
      graph.yield %m : tensor<1x2x5xf32> loc("pool")
    } loc("pool")
    %5 = graph.reshape %4 : tensor<1x2x5xf32> -> tensor<2x5xf32> loc("flatten")
    // CHECK:      func.return {{.*}}, [[FULL]] : tensor<2x5xf32>, tensor<2x6xf32>
    func.return %5, %0 : tensor<2x5xf32>, tensor<2x6xf32>
  }
}
