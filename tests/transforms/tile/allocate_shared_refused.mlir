// RUN: not stepwell-opt %s -p 'tile-allocate-shared{limit=60000}' 2>&1 | filecheck %s
// RUN: not stepwell-opt %s -p 'tile-allocate-shared{limit=40000}' 2>&1 | filecheck %s --check-prefix=NONE

// CHECK: 73776 bytes of shared memory exceed 60000
// CHECK: 2 slots of 24576 bytes fit
// NONE: no two slots fit: take a smaller block
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [128, 64], k = 64, stages = 3, warps = 12, copy = tma, mma = wgmma, swizzle = 128> {
    %ab = tile.ring slots 3 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>)
    tile.role "load" warpgroups 1 {
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [128, 64] {
        tile.for (%t, %k) of %x dims [1, 2] step [1, 64] {
          tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
          tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
        }
      }
    }
    tile.role "multiply" warpgroups 2 {
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [128, 64] {
        %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs, #tile.wgmma>
        %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<128x64xf32, regs, #tile.wgmma> {
          %a, %b = tile.await %ab
          %d = tile.mma %a, %b, %c async
          tile.release %ab behind 1
          tile.yield %d
        }
        %p = tile.finish %acc
        tile.release %ab
        tile.store %p, %y[%i, %j] access 2
      }
    }
  }
}
