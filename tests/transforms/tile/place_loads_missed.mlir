// RUN: stepwell-opt %s -p 'stepwell-convert-tile-to-plan,plan-annotate-refs,plan-assign-offsets,tile-assign-copies,tile-assign-layouts,tile-pipeline-loops,tile-split-roles{load_registers=160},tile-place-loads' --remarks-filter 'tile-place-loads' 2>&1 | filecheck %s
// RUN: stepwell-opt %s -p 'stepwell-convert-tile-to-plan,plan-annotate-refs,plan-assign-offsets,tile-assign-copies,tile-assign-layouts,tile-pipeline-loops,tile-split-roles,tile-place-loads' --remarks-filter 'tile-place-loads' 2>&1 | filecheck %s --check-prefix=EARLY

// With the budget that a greedy loading role leaves there is no room for the epilogue's operands beside the accumulators.
// CHECK: remark: [missed] tile-place-loads: {{.*}}the epilogue's operands are loaded after the products: accumulators 64, operands 96 and 56 beside them, of 176 registers
// CHECK: tile.role "multiply" warpgroups 2 registers 176
// CHECK: tile.finish
// CHECK: tile.load
// EARLY: remark: [passed] tile-place-loads: {{.*}}of 232 registers
// EARLY: tile.role "multiply" warpgroups 2 registers 232
// EARLY: tile.load
// EARLY: tile.finish
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, packed, constant>, %b: !tile.ref<1xf32, plain, constant>, %r: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [128, 128], k = 32, stages = 4, warps = 12, copy = tma_im2col, mma = wgmma, swizzle = 128> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 128] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x128xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 32] iter (%c = %z) -> !tile.tile<128x128xf32, regs> {
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<128x32xf32, ring>
        %bw = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<128x32xf32, ring>
        %d = tile.mma %a, %bw, %c
        tile.yield %d
      }
      %bias = tile.load %b[%j] : !tile.tile<128xf32, regs>
      %bb = tile.broadcast %bias dims [1] : !tile.tile<128x128xf32, regs>
      %rr = tile.load %r[%i, %j] : !tile.tile<128x128xf32, regs>
      %o = tile.map (%p = %acc, %q = %bb, %s = %rr) {
        %1 = arith.addf %p, %q : f32
        %2 = arith.addf %1, %s : f32
        tile.yield %2
      } : !tile.tile<128x128xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  func.func @main(%x: tensor<2x8x8x64xf32> {stepwell.name = "x"}, %r: tensor<128x128xf32> {stepwell.name = "r"}) -> (tensor<128x128xf32> {stepwell.name = "y"}) {
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<128x9x64xf32>, []> : tensor<128x9x64xf32>
    %b = graph.weight #graph.weight<"b", "0000000000000000000000000000000000000000000000000000000000000000", tensor<128xf32>, []> : tensor<128xf32>
    %v = tile.window %x kernel [3, 3] pads [1, 1, 1, 1] : tensor<2x8x8x64xf32> -> !tile.view<128x9x64xf32>
    %y = tile.apply @fc(%v, %w, %b, %r) : (!tile.view<128x9x64xf32>, tensor<128x9x64xf32>, tensor<128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
    func.return %y : tensor<128x128xf32>
  }
}
