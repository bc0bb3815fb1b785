// RUN: stepwell-opt %s -p tile-assign-copies --remarks-filter tile-assign-copies 2>&1 | filecheck %s

// Two products read one tile: each operand has a ring of its own, which is released behind the last product that reads it.
// CHECK-DAG: remark: [passed] tile-assign-copies: {{.*}}a via tma_im2col as tf32 through 4 slots of 16384 bytes, b via tma as tf32 through 4 slots of 8192 bytes
// CHECK: tile.fetch %x
// CHECK: %[[A:.*]] = tile.await
// CHECK: tile.mma %[[A]], %[[B:.*]], %c
// CHECK: tile.mma %[[A]], %[[B]]
// CHECK-NEXT: tile.release
// CHECK-NEXT: tile.release
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, packed, constant>, %b: !tile.ref<1xf32, plain, constant>, %r: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [128, 64], k = 32, stages = 4, warps = 12, copy = tma_im2col, mma = wgmma, swizzle = 128> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 32] iter (%c = %z) -> !tile.tile<128x64xf32, regs> {
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<128x32xf32, ring>
        %bw = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x32xf32, ring>
        %e = tile.mma %a, %bw, %c
        %d = tile.mma %a, %bw, %e
        tile.yield %d
      }
      %bias = tile.load %b[%j] : !tile.tile<64xf32, regs>
      %bb = tile.broadcast %bias dims [1] : !tile.tile<128x64xf32, regs>
      %rr = tile.load %r[%i, %j] : !tile.tile<128x64xf32, regs>
      %o = tile.map (%p = %acc, %q = %bb, %s = %rr) {
        %1 = arith.addf %p, %q : f32
        %2 = arith.addf %1, %s : f32
        tile.yield %2
      } : !tile.tile<128x64xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
}
