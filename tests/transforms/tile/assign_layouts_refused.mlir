// RUN: not stepwell-opt %s -p tile-assign-layouts 2>&1 | filecheck %s
// RUN: not stepwell-opt %s -p 'tile-assign-layouts{access=4}' 2>&1 | filecheck %s --check-prefix=WIDE

// CHECK: rows of 192 bytes of !tile.tile<128x48xf32, ring> in shared memory are no swizzle of the hardware: 32, 64 or 128 bytes
// CHECK: k = 32
// WIDE: access=4: a thread holds 2 columns side by side
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf32, plain>, %w: !tile.ref<3xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [128, 64], k = 32, stages = 3, warps = 12, copy = tma, mma = wgmma, swizzle = 128> {
    %ab = tile.ring slots 3 (128x48xf32, 64x48xf32)
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 48] iter (%c = %z) -> !tile.tile<128x64xf32, regs> {
        tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma as tf32
        tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma as tf32
        %a, %b = tile.await %ab
        %d = tile.mma %a, %b, %c
        tile.release %ab
        tile.yield %d
      }
      tile.store %acc, %y[%i, %j]
    }
  }
}
