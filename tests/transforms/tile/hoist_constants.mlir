// RUN: stepwell-opt %s -p 'tile-hoist-constants{slots=2}' --remarks-filter '.*' 2>&1 | filecheck %s

// CHECK:      remark: [passed] tile-hoist-constants: {{.*}}element #1 of the first 2 slots is fetched before the predecessor has ended: it is constant
// CHECK:      tile.role "load" warpgroups 1 {
// CHECK-NEXT:   tile.for_tiles (%i, %j) of %y block [128, 64] first 1 {
// CHECK-NEXT:     tile.for (%t, %k) of %x dims [1, 2] step [1, 64] first 2 {
// CHECK-NEXT:       tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma{{$}}
// CHECK:        tile.wait_predecessor
// CHECK-NEXT:   tile.for_tiles
// CHECK-NEXT:     tile.for
// CHECK-NEXT:       tile.fetch %w[%{{.*}}] dims = [0, 2] to %ab#1 via tma rest
// CHECK-NEXT:       tile.fetch %x[%{{.*}}] dims = [0, 2] to %ab#0 via tma
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
