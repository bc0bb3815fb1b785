// RUN: stepwell-opt %s -p 'linalg-choose-config{target=x86-64-v4}' --remarks-filter '.*' 2>&1 | filecheck %s
// RUN: not stepwell-opt %s -p 'linalg-choose-config{target=sm_90a}' 2>&1 | filecheck %s --check-prefix GPU

// CHECK-DAG: remark: [passed] linalg-choose-config: act: kept the given config: block = [2, 32]
// CHECK-DAG: config #tile.config<block = [2, 32], copy = pointer_table>
// GPU: error: act: its config is illegal on sm_90a: copy = pointer_table: a kernel without mma reads with copy = direct on sm_90a
#id = affine_map<(m, n) -> (m, n)>
builtin.module attributes {stepwell.level = "linalg"} {
  func.func @main(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
    %y = graph.fusion "act" (%a = %x : tensor<4x64xf32>) -> (tensor<4x64xf32>) config #tile.config<block = [2, 32], copy = pointer_table> {
      %e = tensor.empty() : tensor<4x64xf32>
      %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%a : tensor<4x64xf32>) outs(%e : tensor<4x64xf32>) {
      ^bb0(%p: f32, %s: f32):
        %m = arith.negf %p : f32
        linalg.yield %m : f32
      } -> tensor<4x64xf32>
      graph.yield %r : tensor<4x64xf32>
    } loc("act")
    func.return %y : tensor<4x64xf32>
  }
}
