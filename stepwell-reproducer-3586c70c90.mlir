// RUN: stepwell-opt %s -p 'stepwell-convert-linalg-to-tile'
// VerifyException: the extents of a tile are static and at least 1: it is a value, not a view of a tensor
builtin.module attributes {stepwell.level = "linalg", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  func.func @main(%x: tensor<0x4xf32> {stepwell.name = "x"} loc("x")) -> (tensor<0x4xf32> {stepwell.name = "y"}) {
    %y = graph.fusion "y" (%x_1 = %x : tensor<0x4xf32>) -> (tensor<0x4xf32>) config #tile.config<block = [0, 16]> {
      %0 = tensor.empty() : tensor<0x4xf32> loc("y")
      %y_1 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%x_1 : tensor<0x4xf32>) outs(%0 : tensor<0x4xf32>) {
      ^bb0(%1: f32 loc(unknown), %2: f32 loc(unknown)):
        %3 = arith.constant 0.000000e+00 : f32 loc("y")
        %4 = arith.maximumf %1, %3 : f32 loc("y")
        linalg.yield %4 : f32 loc("y")
      } -> tensor<0x4xf32> loc("y")
      graph.yield %y_1 : tensor<0x4xf32> loc("y")
    } loc("y")
    func.return %y : tensor<0x4xf32> loc("y")
  } loc("g")
} loc("g")
