// RUN: stepwell-opt %s | stepwell-opt | filecheck %s

// Two copies of the multiplying role: each takes every second tile of the block, and while one stores the other multiplies.
// CHECK: tile.kernel @pingpong
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @pingpong(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [64, 128], k = 64, stages = 6, warps = 12, copy = tma, mma = wgmma, swizzle = 128> {
    // CHECK-NEXT: %ab = tile.ring slots 6 (64x64xf16 #tile.shared<128>, 128x64xf16 #tile.shared<128>) alternate
    %ab = tile.ring slots 6 (64x64xf16 #tile.shared<128>, 128x64xf16 #tile.shared<128>) alternate
    tile.role "load" warpgroups 1 registers 40 {
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [64, 128] {
        tile.for (%t, %k) of %x dims [1, 2] step [1, 64] {
          tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
          tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
        }
      }
    }
    // CHECK: tile.role "multiply" warpgroups 1 copies 2 order @turn registers 232 {
    tile.role "multiply" warpgroups 1 copies 2 order @turn registers 232 {
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [64, 128] {
        // CHECK: tile.turn begin @turn
        tile.turn begin @turn
        %z = tile.fill 0.0 : f32 -> !tile.tile<64x128xf32, regs, #tile.wgmma>
        %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<64x128xf32, regs, #tile.wgmma> {
          %a, %b = tile.await %ab
          %d = tile.mma %a, %b, %c async
          tile.release %ab behind 1
          tile.yield %d
        }
        %p = tile.finish %acc
        tile.release %ab
        // CHECK: tile.turn end @turn
        tile.turn end @turn
        %o = tile.map (%1 = %p) {
          %2 = arith.truncf %1 : f32 to f16
          tile.yield %2
        } : !tile.tile<64x128xf16, regs, #tile.wgmma>
        tile.store %o, %y[%i, %j] access 2
      }
    }
  }
}
