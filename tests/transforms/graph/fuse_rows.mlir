// RUN: stepwell-opt %s -p 'graph-fuse-rows' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-fuse-rows' --remarks-filter graph-fuse-rows 2>&1 | filecheck %s --check-prefix=REMARK
// RUN: stepwell-opt %s -p 'graph-fuse-rows{no-fuse=mask}' | filecheck %s --check-prefix=LESS

// REMARK-DAG: remark: [passed] graph-fuse-rows: softmax: fused mul, add before and cast behind into softmax: one kernel in place of 4
// REMARK-DAG: remark: [passed] graph-fuse-rows: norm: fused mul, add behind into normalize: one kernel in place of 3
// REMARK-DAG: remark: [passed] graph-fuse-rows: length: fused mul before and sqrt behind into reduce: one kernel in place of 3
// REMARK-DAG: remark: [missed] graph-fuse-rows: twice: twice is used by several: its value is stored

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<2x8x8xf32>, %m: tensor<2x8xf32>, %g: tensor<8xf32>) -> (tensor<2x8x8xf16>, tensor<2x8x8xf32>, tensor<2x8xf32>, tensor<2x8x8xf32>, tensor<2x8x8xf32>) {
    // CHECK:      graph.fusion "softmax"
    // CHECK-NEXT:   graph.constant
    // CHECK-NEXT:   graph.binary mul
    // CHECK-NEXT:   graph.broadcast
    // CHECK-NEXT:   graph.binary add
    // CHECK-NEXT:   graph.softmax
    // CHECK-NEXT:   graph.cast
    // CHECK-NEXT:   graph.yield
    // LESS:       graph.binary mul
    // LESS:       graph.binary add
    // LESS:       graph.fusion "softmax"
    // LESS-NEXT:    graph.softmax
    %c = graph.constant 0.125 : tensor<2x8x8xf32> loc("scale")
    %0 = graph.binary mul %x, %c : (tensor<2x8x8xf32>, tensor<2x8x8xf32>) -> tensor<2x8x8xf32> loc("scale")
    %1 = graph.broadcast %m dims [0, 2] : tensor<2x8xf32> -> tensor<2x8x8xf32> loc("mask")
    %2 = graph.binary add %0, %1 : (tensor<2x8x8xf32>, tensor<2x8x8xf32>) -> tensor<2x8x8xf32> loc("mask")
    %3 = graph.softmax %2 dims [2] : tensor<2x8x8xf32> -> tensor<2x8x8xf32> loc("softmax")
    %4 = graph.cast %3 : tensor<2x8x8xf32> -> tensor<2x8x8xf16> loc("half")
    // What is dear and read three times is stored; scale and bias go along.
    // CHECK:      graph.unary tanh
    // CHECK:      graph.fusion "norm"
    // CHECK-NEXT:   graph.normalize
    // CHECK-NEXT:   graph.broadcast
    // CHECK-NEXT:   graph.binary mul
    // CHECK-NEXT:   graph.binary add
    // CHECK-NEXT:   graph.yield
    %5 = graph.unary tanh %x : tensor<2x8x8xf32> -> tensor<2x8x8xf32> loc("tanh")
    %6, %7, %8 = graph.normalize %5 dims [2] epsilon 1.0e-05 center : (tensor<2x8x8xf32>) -> (tensor<2x8x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>) loc("norm")
    %9 = graph.broadcast %g dims [2] : tensor<8xf32> -> tensor<2x8x8xf32> loc("gain")
    %10 = graph.binary mul %6, %9 : (tensor<2x8x8xf32>, tensor<2x8x8xf32>) -> tensor<2x8x8xf32> loc("gain")
    %11 = graph.binary add %10, %9 : (tensor<2x8x8xf32>, tensor<2x8x8xf32>) -> tensor<2x8x8xf32> loc("bias")
    // CHECK:      graph.fusion "length"
    // CHECK-NEXT:   graph.binary mul
    // CHECK-NEXT:   graph.reduce sum
    // CHECK-NEXT:   graph.unary sqrt
    // CHECK-NEXT:   graph.yield
    %12 = graph.binary mul %x, %x : (tensor<2x8x8xf32>, tensor<2x8x8xf32>) -> tensor<2x8x8xf32> loc("square")
    %13 = graph.reduce sum %12 dims [2] : tensor<2x8x8xf32> -> tensor<2x8xf32> loc("length")
    %14 = graph.unary sqrt %13 : tensor<2x8xf32> -> tensor<2x8xf32> loc("root")
    // CHECK:      graph.fusion "twice"
    // CHECK-NEXT:   graph.softmax
    // CHECK-NEXT:   graph.yield
    %15 = graph.softmax %x dims [1] : tensor<2x8x8xf32> -> tensor<2x8x8xf32> loc("twice")
    %16 = graph.unary exp %15 : tensor<2x8x8xf32> -> tensor<2x8x8xf32> loc("exp")
    %17 = graph.unary neg %15 : tensor<2x8x8xf32> -> tensor<2x8x8xf32> loc("neg")
    func.return %4, %11, %14, %16, %17 : tensor<2x8x8xf16>, tensor<2x8x8xf32>, tensor<2x8xf32>, tensor<2x8x8xf32>, tensor<2x8x8xf32>
  }
}
