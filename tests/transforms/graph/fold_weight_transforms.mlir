// RUN: stepwell-opt %s -p 'graph-fold-weight-transforms' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-fold-weight-transforms' --remarks-filter graph-fold 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK: remark: [passed] graph-fold-weight-transforms: turn: transpose of weight "w" became a recipe step
// REMARK: remark: [missed] graph-fold-weight-transforms: tanh: tanh of weights alone is computed in every run: recipes hold no arithmetic (hint: fold constants in the model before importing it)

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<4x6xf32>) -> (tensor<8x3xf16>, tensor<4x6xf32>, tensor<6x4xf32>, tensor<4x6xf32>) {
    // CHECK:      %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<4x6xf32>, [#graph.step<"transpose", [1, 0]>, #graph.step<"reshape", [8, 3]>, #graph.step<"cast", ["f16"]>]> : tensor<8x3xf16>
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<4x6xf32>, []> : tensor<4x6xf32> loc("w")
    %0 = graph.transpose %w [1, 0] : tensor<4x6xf32> -> tensor<6x4xf32> loc("turn")
    %1 = graph.reshape %0 : tensor<6x4xf32> -> tensor<8x3xf32> loc("view")
    %2 = graph.cast %1 : tensor<8x3xf32> -> tensor<8x3xf16> loc("cast")
    // Steps that undo each other vanish.
    // CHECK-NEXT: %u = graph.weight #graph.weight<"u", "0000000000000000000000000000000000000000000000000000000000000000", tensor<4x6xf32>, []> : tensor<4x6xf32>
    %u = graph.weight #graph.weight<"u", "0000000000000000000000000000000000000000000000000000000000000000", tensor<4x6xf32>, []> : tensor<4x6xf32> loc("u")
    %3 = graph.transpose %u [1, 0] : tensor<4x6xf32> -> tensor<6x4xf32> loc("there")
    %4 = graph.transpose %3 [1, 0] : tensor<6x4xf32> -> tensor<4x6xf32> loc("back")
    // What is computed stays.
    // CHECK:      graph.transpose %x [1, 0]
    %5 = graph.transpose %x [1, 0] : tensor<4x6xf32> -> tensor<6x4xf32> loc("computed")
    // Refused: arithmetic on a weight.
    // CHECK:      graph.unary tanh %u
    %6 = graph.unary tanh %u : tensor<4x6xf32> -> tensor<4x6xf32> loc("tanh")
    func.return %2, %4, %5, %6 : tensor<8x3xf16>, tensor<4x6xf32>, tensor<6x4xf32>, tensor<4x6xf32>
  }
}
