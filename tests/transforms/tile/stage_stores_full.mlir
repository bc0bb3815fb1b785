// RUN: stepwell-opt %s -p 'tile-stage-stores{slots=8}' --remarks-filter '.*' 2>&1 | filecheck %s

// CHECK: remark: [missed] tile-stage-stores: {{.*}}8 x 32768 bytes are needed, {{[0-9]+}} are left beside the rings: it is stored directly
// CHECK: tile.store
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>) -> (%y: !tile.ref<2xf16, plain, align 16>) config #tile.config<block = [128, 128], k = 64, stages = 3, warps = 12, copy = tma, mma = wgmma, epilogue = staged, swizzle = 128> {
    %ab = tile.ring slots 3 (128x64xf16 #tile.shared<128>, 128x64xf16 #tile.shared<128>)
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 128] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x128xf32, regs, #tile.wgmma>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<128x128xf32, regs, #tile.wgmma> {
        tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
        tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
        %a, %b = tile.await %ab
        %d = tile.mma %a, %b, %c async
        tile.release %ab behind 1
        tile.yield %d
      }
      %p = tile.finish %acc
      tile.release %ab
      %o = tile.map (%1 = %p) {
        %2 = arith.truncf %1 : f32 to f16
        tile.yield %2
      } : !tile.tile<128x128xf16, regs, #tile.wgmma>
      tile.store %o, %y[%i, %j] access 2
    }
  }
}
