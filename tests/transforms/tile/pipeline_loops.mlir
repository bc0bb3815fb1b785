// RUN: stepwell-opt %s -p 'tile-assign-copies,tile-assign-layouts,tile-pipeline-loops' | filecheck %s
// RUN: stepwell-opt %s -p 'tile-assign-copies,tile-assign-layouts,tile-pipeline-loops,tile-pipeline-loops' | filecheck %s
// RUN: stepwell-opt %s -p 'tile-assign-copies,tile-assign-layouts,tile-pipeline-loops{in_flight=2}' | filecheck %s --check-prefix=DEEP
// RUN: stepwell-opt %s -p 'tile-assign-copies,tile-assign-layouts,tile-pipeline-loops' --remarks-filter 'tile-pipeline-loops' 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK: remark: [passed] tile-pipeline-loops: {{.*}}1 product in flight
// DEEP: tile.release %ab behind 2
// CHECK: %z = tile.fill
// CHECK: %acc = tile.for
// CHECK: %a, %bw = tile.await %ab
// CHECK-NEXT: %d = tile.mma %a, %bw, %c async
// CHECK-NEXT: tile.release %ab behind 1
// CHECK-NEXT: tile.yield %d
// CHECK: %product = tile.finish %acc
// CHECK-NEXT: tile.release %ab
// CHECK: %bias = tile.load
// CHECK: %rr = tile.load
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, packed, constant>, %b: !tile.ref<1xf32, plain, constant>, %r: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [64, 64], k = 32, stages = 4, warps = 8, copy = tma_im2col, mma = wgmma, swizzle = 128> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [64, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<64x64xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 32] iter (%c = %z) -> !tile.tile<64x64xf32, regs> {
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<64x32xf32, ring>
        %bw = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x32xf32, ring>
        %d = tile.mma %a, %bw, %c
        tile.yield %d
      }
      %bias = tile.load %b[%j] : !tile.tile<64xf32, regs>
      %bb = tile.broadcast %bias dims [1] : !tile.tile<64x64xf32, regs>
      %rr = tile.load %r[%i, %j] : !tile.tile<64x64xf32, regs>
      %o = tile.map (%p = %acc, %q = %bb, %s = %rr) {
        %1 = arith.addf %p, %q : f32
        %2 = arith.addf %1, %s : f32
        tile.yield %2
      } : !tile.tile<64x64xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  func.func @main(%x: tensor<2x8x8x64xf32> {stepwell.name = "x"}, %r: tensor<128x64xf32> {stepwell.name = "r"}) -> (tensor<128x64xf32> {stepwell.name = "y"}) {
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<64x9x64xf32>, []> : tensor<64x9x64xf32>
    %b = graph.weight #graph.weight<"b", "0000000000000000000000000000000000000000000000000000000000000000", tensor<64xf32>, []> : tensor<64xf32>
    %v = tile.window %x kernel [3, 3] pads [1, 1, 1, 1] : tensor<2x8x8x64xf32> -> !tile.view<128x9x64xf32>
    %y = tile.apply @fc(%v, %w, %b, %r) : (!tile.view<128x9x64xf32>, tensor<64x9x64xf32>, tensor<64xf32>, tensor<128x64xf32>) -> tensor<128x64xf32>
    func.return %y : tensor<128x64xf32>
  }
}
