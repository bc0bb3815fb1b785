// RUN: stepwell-opt %s -p tile-split-roles --remarks-filter '.*' 2>&1 | filecheck %s

// CHECK:      remark: [passed] tile-split-roles: {{.*}}load: 1 warpgroup, multiply: 2, 64 of 128 rows each; budgets of 40 and 232 registers: 128 registers of each thread hold 256 columns
// CHECK:      tile.ring
// CHECK-NEXT: tile.role "load" warpgroups 1 registers 40 {
// CHECK-NEXT:   tile.wait_predecessor
// CHECK-NEXT:   tile.for_tiles (%i, %j) of %y block [128, 256] {
// CHECK-NEXT:     tile.for (%t, %k) of %x dims [1, 2] step [1, 64] {
// CHECK-NEXT:       tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
// CHECK-NEXT:       tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
// CHECK:      tile.role "multiply" warpgroups 2 registers 232 {
// CHECK-NEXT:   tile.wait_predecessor
// CHECK-NEXT:   tile.for_tiles (%[[I:.*]], %[[J:.*]]) of %y block [128, 256] {
// CHECK-NEXT:     %z = tile.fill
// CHECK-NEXT:     tile.for
// CHECK-NEXT:       tile.await %ab
// CHECK-NOT:        tile.fetch
// CHECK:            tile.store %p, %y[%[[I]], %[[J]]]
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [128, 256], k = 64, stages = 3, warps = 12, copy = tma, mma = wgmma, swizzle = 128> {
    %ab = tile.ring slots 3 (128x64xf16 #tile.shared<128>, 256x64xf16 #tile.shared<128>)
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 256] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x256xf32, regs, #tile.wgmma>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<128x256xf32, regs, #tile.wgmma> {
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
