// RUN: stepwell-opt %s -p 'linalg-choose-config{target=sm_90a}' --remarks-filter '.*' 2>&1 | filecheck %s
// RUN: stepwell-opt %s -p 'linalg-choose-config{target=sm_90a tf32=false}' --remarks-filter '.*' 2>&1 | filecheck %s --check-prefix FULL
// RUN: stepwell-opt %s -p 'linalg-choose-config{target=x86-64-v3}' --remarks-filter '.*' 2>&1 | filecheck %s --check-prefix AVX
// RUN: not stepwell-opt %s -p 'linalg-choose-config' 2>&1 | filecheck %s --check-prefix NONE

// NONE: error: linalg-choose-config: the target is not given: it is one of sm_90a, x86-64-v4, x86-64-v3
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
builtin.module attributes {stepwell.level = "linalg"} {
  func.func @main(%x: tensor<128x64xf32>, %z: tensor<128x3xf32>) -> (tensor<128x48xf32>, tensor<128x48xf32>) {
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<48x64xf32>, []> : tensor<48x64xf32>
    %v = graph.weight #graph.weight<"v", "0000000000000000000000000000000000000000000000000000000000000000", tensor<48x3xf32>, []> : tensor<48x3xf32>
    // CHECK-DAG: remark: [passed] linalg-choose-config: wide: block = [64, 16], k = 32, stages = 4, warps = 8, copy = tma, mma = wgmma, swizzle = 128: m = 128, n = 48, k = 1 x 64: 6 tiles
    // CHECK-DAG: config #tile.config<block = [64, 16], k = 32, stages = 4, warps = 8, copy = tma, mma = wgmma, swizzle = 128>
    // FULL-DAG: remark: [missed] linalg-choose-config: wide: wgmma refused: f32 operands would be rounded to tf32 and tf32 = false
    // AVX-DAG: remark: [passed] linalg-choose-config: wide: block = [4, 24], mma = fma: m = 128, n = 48, k = 1 x 64: the panel that wastes least of 48 columns
    %y = graph.fusion "wide" (%0 = %x : tensor<128x64xf32>, %1 = %w : tensor<48x64xf32>) -> (tensor<128x48xf32>) {
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<128x48xf32>
      %init = linalg.fill ins(%zero : f32) outs(%e : tensor<128x48xf32>) -> tensor<128x48xf32>
      %r = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%0, %1 : tensor<128x64xf32>, tensor<48x64xf32>) outs(%init : tensor<128x48xf32>) {
      ^bb0(%p: f32, %q: f32, %s: f32):
        %m = arith.mulf %p, %q : f32
        %t = arith.addf %s, %m : f32
        linalg.yield %t : f32
      } -> tensor<128x48xf32>
      graph.yield %r : tensor<128x48xf32>
    } loc("wide")
    // CHECK-DAG: remark: [missed] linalg-choose-config: narrow: wgmma refused: channel rows of 12 bytes are not a multiple of 16
    // CHECK-DAG: remark: [passed] linalg-choose-config: narrow: block = [16, 32], warps = 4: no matrix product, 128 x 48 elements
    %u = graph.fusion "narrow" (%0 = %z : tensor<128x3xf32>, %1 = %v : tensor<48x3xf32>) -> (tensor<128x48xf32>) {
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<128x48xf32>
      %init = linalg.fill ins(%zero : f32) outs(%e : tensor<128x48xf32>) -> tensor<128x48xf32>
      %r = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%0, %1 : tensor<128x3xf32>, tensor<48x3xf32>) outs(%init : tensor<128x48xf32>) {
      ^bb0(%p: f32, %q: f32, %s: f32):
        %m = arith.mulf %p, %q : f32
        %t = arith.addf %s, %m : f32
        linalg.yield %t : f32
      } -> tensor<128x48xf32>
      graph.yield %r : tensor<128x48xf32>
    } loc("narrow")
    func.return %y, %u : tensor<128x48xf32>, tensor<128x48xf32>
  }
}
