// RUN: stepwell-opt %s -p 'tile-split-roles{copies=2},tile-allocate-shared' --remarks-filter '.*' 2>&1 | filecheck %s

// CHECK:      remark: [passed] tile-split-roles: {{.*}}load: 1 warpgroup, multiply: 2 (2 times, in turn), 64 of 128 rows each
// CHECK:      warps = 20
// CHECK:      tile.ring slots 3 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>) alternate at 0
// CHECK:      tile.role "multiply" warpgroups 2 copies 2 order @turn barrier 1 {
// CHECK:          tile.fill
// CHECK-NEXT:     tile.turn begin @turn
// CHECK-NEXT:     tile.for
// CHECK:          tile.turn end @turn
// CHECK-NEXT:     tile.finish
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [128, 64], k = 64, stages = 3, warps = 12, copy = tma, mma = wgmma, swizzle = 128> {
    %ab = tile.ring slots 3 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>)
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs, #tile.wgmma>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<128x64xf32, regs, #tile.wgmma> {
        tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
        tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
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
