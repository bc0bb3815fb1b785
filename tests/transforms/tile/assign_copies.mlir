// RUN: stepwell-opt %s -p tile-assign-copies | filecheck %s
// RUN: stepwell-opt %s -p 'tile-assign-copies,tile-assign-copies' | filecheck %s
// RUN: stepwell-opt %s -p 'tile-assign-copies{slots=3}' | filecheck %s --check-prefix=THREE
// RUN: stepwell-opt %s -p tile-assign-copies --remarks-filter '.*' 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK: remark: [passed] tile-assign-copies: {{.*}}a ring of 4 slots (the config's stages) of 24576 bytes; #0 via tma_im2col as tf32 (its rows are pixels of a window), #1 via tma as tf32 (its rows lie at equal distances)
// THREE: %ab = tile.ring slots 3 (128x32xf32, 64x32xf32)
// CHECK:      %ab = tile.ring slots 4 (128x32xf32, 64x32xf32)
// CHECK-NEXT: tile.wait_predecessor
// CHECK:      %acc = tile.for
// CHECK-NEXT:   tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma as tf32
// CHECK-NEXT:   tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma_im2col as tf32
// CHECK-NEXT:   %a, %bw = tile.await %ab
// CHECK-NEXT:   %d = tile.mma %a, %bw, %c
// CHECK-NEXT:   tile.release %ab
// CHECK-NEXT:   tile.yield %d
// CHECK:      tile.kernel @double
// CHECK-NEXT:   tile.wait_predecessor
// CHECK:        tile.load %{{.*}} : !tile.tile<32x64xf32, regs>
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, packed, constant>, %b: !tile.ref<1xf32, plain, constant>, %r: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [128, 64], k = 32, stages = 4, warps = 12, copy = tma_im2col, mma = wgmma, swizzle = 128> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 32] iter (%c = %z) -> !tile.tile<128x64xf32, regs> {
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<128x32xf32, ring>
        %bw = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x32xf32, ring>
        %d = tile.mma %a, %bw, %c
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
  tile.kernel @double(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [32, 64], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [32, 64] {
      %t = tile.load %x[%i, %j] : !tile.tile<32x64xf32, regs>
      %o = tile.map (%p = %t) {
        %s = arith.addf %p, %p : f32
        tile.yield %s
      } : !tile.tile<32x64xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
}
