// RUN: stepwell-opt %s -p 'graph-fold-batch-norm' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-fold-batch-norm' --remarks-filter graph-fold-batch-norm 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: remark: [passed] graph-fold-batch-norm: bn1: folded into the filter of conv1
// REMARK-DAG: remark: [passed] graph-fold-batch-norm: bn2: folded into the filter of conv2
// REMARK-DAG: remark: [missed] graph-fold-batch-norm: bn3: became a product and a sum: no product stands before it
// REMARK-DAG: remark: [missed] graph-fold-batch-norm: bn4: its parameters are computed, or weights whose values are not given
// REMARK-DAG: remark: [missed] graph-fold-batch-norm: bn5: became a product and a sum: conv5 is used elsewhere too
// REMARK-DAG: remark: [missed] graph-fold-batch-norm: bn6: a factor of it is not finite

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<1x1x2x2xf32>, %p: tensor<2xf32>) -> (tensor<1x2x2x2xf32>, tensor<1x2x2x2xf16>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>) {
    %scale = graph.constant [3.0, 6.0] : tensor<2xf32>
    %bias = graph.constant [1.0, 2.0] : tensor<2xf32>
    %mean = graph.constant [4.0, 2.0] : tensor<2xf32>
    %variance = graph.constant [9.0, 4.0] : tensor<2xf32>
    %none = graph.constant 0.0 : tensor<2xf32>
    %f = graph.constant [1.0, 2.0] : tensor<2x1x1x1xf32>
    // The factors are 1 and 3, so the filter becomes 1 and 6 and the bias -3 and -4.
    // CHECK:      [[W:%.*]] = graph.weight #graph.weight<"conv1.folded#
    // CHECK-NEXT: [[Y:%.*]] = graph.conv %x, [[W]]
    // CHECK-NEXT: [[B:%.*]] = graph.weight #graph.weight<"conv1.bias#
    // CHECK-NEXT: [[R:%.*]] = graph.broadcast [[B]] dims [1]
    // CHECK-NEXT: graph.binary add [[Y]], [[R]]
    %0 = graph.conv %x, %f strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] channels_first : (tensor<1x1x2x2xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x2x2xf32> loc("conv1")
    %1 = graph.batch_norm %0, %scale, %bias, %mean, %variance dim 1 epsilon 0.0 : (tensor<1x2x2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2x2xf32> loc("bn1")
    // A bias between them goes along.
    // CHECK:      graph.weight #graph.weight<"conv2.folded#
    // CHECK-NEXT: [[Y:%.*]] = graph.conv
    // CHECK-NEXT: graph.weight #graph.weight<"conv2.bias#
    // CHECK-NEXT: graph.broadcast
    // CHECK-NEXT: graph.binary add [[Y]],
    // CHECK-NOT:  graph.batch_norm
    %2 = graph.conv %x, %f strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] channels_first : (tensor<1x1x2x2xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x2x2xf32> loc("conv2")
    %3 = graph.broadcast %bias dims [1] : tensor<2xf32> -> tensor<1x2x2x2xf32> loc("bias")
    %4 = graph.binary add %2, %3 : (tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32> loc("bias")
    %5 = graph.batch_norm %4, %scale, %bias, %mean, %variance dim 1 epsilon 0.0 : (tensor<1x2x2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2x2xf32> loc("bn2")
    // CHECK:      [[X:%.*]] = graph.cast
    // CHECK-NEXT: graph.cast [[X]] : tensor<1x2x2x2xf16> -> tensor<1x2x2x2xf32>
    // CHECK:      graph.binary mul
    // CHECK:      graph.binary add
    // CHECK-NEXT: graph.cast
    %6 = graph.cast %5 : tensor<1x2x2x2xf32> -> tensor<1x2x2x2xf16> loc("narrow")
    %7 = graph.batch_norm %6, %scale, %bias, %mean, %variance dim 1 epsilon 0.0 : (tensor<1x2x2x2xf16>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2x2xf16> loc("bn3")
    // CHECK:      graph.batch_norm {{.*}}%p
    %8 = graph.batch_norm %5, %p, %bias, %mean, %variance dim 1 epsilon 0.0 : (tensor<1x2x2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2x2xf32> loc("bn4")
    // CHECK:      graph.conv
    // CHECK:      graph.binary mul
    %9 = graph.conv %x, %f strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] channels_first : (tensor<1x1x2x2xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x2x2xf32> loc("conv5")
    %10 = graph.batch_norm %9, %scale, %bias, %mean, %variance dim 1 epsilon 0.0 : (tensor<1x2x2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2x2xf32> loc("bn5")
    %11 = graph.binary add %9, %10 : (tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32> loc("sum")
    // CHECK:      graph.batch_norm
    %12 = graph.batch_norm %5, %scale, %bias, %mean, %none dim 1 epsilon 0.0 : (tensor<1x2x2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2x2xf32> loc("bn6")
    func.return %1, %7, %8, %11, %12 : tensor<1x2x2x2xf32>, tensor<1x2x2x2xf16>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>
  }
}
