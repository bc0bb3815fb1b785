// RUN: not stepwell-opt %s -p 'stepwell-convert-linalg-to-tile' 2>&1 | filecheck %s
// RUN: stepwell-opt %s -p 'linalg-choose-config{target=sm_90a},stepwell-convert-linalg-to-tile' | filecheck %s --check-prefix LOOPS
// RUN: stepwell-opt %s -p 'linalg-choose-config{target=x86-64-v4},stepwell-convert-linalg-to-tile' | filecheck %s --check-prefix LOOPS

// CHECK: error: softmax: the fusion has no #tile.config
// LOOPS: tile.kernel @softmax(
// LOOPS: tile.loops @softmax_1(%{{.*}}: tensor<4x8xf32>, %{{.*}}: tensor<4xf32>) -> (tensor<4xf32>) config #tile.config<block = [{{[0-9]+}}], form = loops>
// LOOPS-COUNT-1: linalg.generic
// LOOPS: tile.apply @softmax_1(%{{.*}}) : (tensor<4x8xf32>, tensor<4xf32>) -> tensor<4xf32>
#id = affine_map<(m, k) -> (m, k)>
#row = affine_map<(m, k) -> (m)>
builtin.module attributes {stepwell.level = "linalg"} {
  func.func @main(%x: tensor<4x8xf32>) -> tensor<4xf32> {
    %y = graph.fusion "softmax" (%a = %x : tensor<4x8xf32>) -> (tensor<4xf32>) {
      %low = arith.constant 0xff800000 : f32
      %e = tensor.empty() : tensor<4xf32>
      %init = linalg.fill ins(%low : f32) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      %m = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]} ins(%a : tensor<4x8xf32>) outs(%init : tensor<4xf32>) {
      ^bb0(%p: f32, %c: f32):
        %s = arith.maximumf %c, %p : f32
        linalg.yield %s : f32
      } -> tensor<4xf32> loc("max")
      %n = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]} ins(%a : tensor<4x8xf32>) outs(%m : tensor<4xf32>) {
      ^bb0(%p: f32, %c: f32):
        %s = arith.addf %c, %p : f32
        linalg.yield %s : f32
      } -> tensor<4xf32> loc("sum")
      graph.yield %n : tensor<4xf32>
    } loc("softmax")
    func.return %y : tensor<4xf32>
  }
}
