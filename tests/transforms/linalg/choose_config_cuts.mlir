// RUN: stepwell-opt %s -p 'linalg-choose-config{target=sm_90a}' --remarks-filter choose 2>&1 | filecheck %s
// RUN: stepwell-opt %s -p 'linalg-choose-config{target=x86-64-v3}' --remarks-filter choose 2>&1 | filecheck %s --check-prefix CPU
// RUN: stepwell-opt %s -p 'linalg-choose-config{target=x86-64-v3}' --check-semantics --weights random:0 -o /dev/null

// Sums of sums over different dims, and a product whose left factor is computed: no kernel takes either whole.
// CHECK-DAG: remark: [missed] linalg-choose-config: sums: no kernel takes it whole: no tiles: 2 reductions in one fusion{{.*}}; it is cut into sums ({{[a-z]+}}), sums_1 ({{[a-z]+}})
// CHECK-DAG: remark: [missed] linalg-choose-config: fc: no kernel takes it whole: no tiles: an operand of the root is computed in the same fusion: no lowering maps operands; it is cut into fc (elementwise), fc_1 (wgmma)
// CHECK-DAG: graph.fusion "sums_1" ({{.*}} : tensor<4xf32>) -> (tensor<1xf32>) config #tile.config<
// CHECK-DAG: graph.fusion "fc" ({{.*}} : tensor<64x64xf32>) -> (tensor<64x64xf32>) config #tile.config<
// CHECK-DAG: graph.fusion "fc_1" ({{.*}}) -> (tensor<64x32xf32>) config #tile.config<{{.*}}mma = wgmma
// CPU-DAG: it is cut into fc (elementwise), fc_1 (fma)
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
#id = affine_map<(m, n) -> (m, n)>
#m = affine_map<(m, n) -> (m)>
#one = affine_map<(u, m) -> (m)>
#unit = affine_map<(u, m) -> (u)>
builtin.module attributes {stepwell.level = "linalg"} {
  func.func @main(%x: tensor<4x8xf32>, %z: tensor<64x64xf32>) -> (tensor<1xf32>, tensor<64x32xf32>) {
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<32x64xf32>, []> : tensor<32x64xf32>
    %y = graph.fusion "sums" (%0 = %x : tensor<4x8xf32>) -> (tensor<1xf32>) {
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<4xf32>
      %i = linalg.fill ins(%zero : f32) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      %r = linalg.generic {indexing_maps = [#id, #m], iterator_types = ["parallel", "reduction"]} ins(%0 : tensor<4x8xf32>) outs(%i : tensor<4xf32>) {
      ^bb0(%p: f32, %s: f32):
        %t = arith.addf %s, %p : f32
        linalg.yield %t : f32
      } -> tensor<4xf32>
      %f = tensor.empty() : tensor<1xf32>
      %j = linalg.fill ins(%zero : f32) outs(%f : tensor<1xf32>) -> tensor<1xf32>
      %q = linalg.generic {indexing_maps = [#one, #unit], iterator_types = ["parallel", "reduction"]} ins(%r : tensor<4xf32>) outs(%j : tensor<1xf32>) {
      ^bb0(%p: f32, %s: f32):
        %t = arith.addf %s, %p : f32
        linalg.yield %t : f32
      } -> tensor<1xf32>
      graph.yield %q : tensor<1xf32>
    } loc("sums")
    %v = graph.fusion "fc" (%0 = %z : tensor<64x64xf32>, %1 = %w : tensor<32x64xf32>) -> (tensor<64x32xf32>) {
      %e = tensor.empty() : tensor<64x64xf32>
      %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%0 : tensor<64x64xf32>) outs(%e : tensor<64x64xf32>) {
      ^bb0(%p: f32, %s: f32):
        %t = arith.negf %p : f32
        linalg.yield %t : f32
      } -> tensor<64x64xf32>
      %zero = arith.constant 0.0 : f32
      %f = tensor.empty() : tensor<64x32xf32>
      %i = linalg.fill ins(%zero : f32) outs(%f : tensor<64x32xf32>) -> tensor<64x32xf32>
      %r = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%a, %1 : tensor<64x64xf32>, tensor<32x64xf32>) outs(%i : tensor<64x32xf32>) {
      ^bb0(%p: f32, %q: f32, %s: f32):
        %m = arith.mulf %p, %q : f32
        %t = arith.addf %s, %m : f32
        linalg.yield %t : f32
      } -> tensor<64x32xf32>
      graph.yield %r : tensor<64x32xf32>
    } loc("fc")
    func.return %y, %v : tensor<1xf32>, tensor<64x32xf32>
  }
}
