// RUN: stepwell-opt %s | stepwell-opt | filecheck %s

// A product whose residual comes through a ring of its own, before roles are split.
// CHECK: tile.kernel @fc
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>, %r: !tile.ref<2xf16, plain, align 16>) -> (%y: !tile.ref<2xf16, plain, align 16>) config #tile.config<block = [128, 64], k = 64, stages = 3, warps = 12, copy = tma, mma = wgmma, epilogue = staged, swizzle = 128> {
    %ab = tile.ring slots 3 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>)
    %early = tile.ring slots 2 (128x64xf16 #tile.shared<128>)
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 64] {
      tile.fetch %r[%i, %j] to %early#0 via tma
      %z = tile.fill 0.000000e+00 : f32 -> !tile.tile<128x64xf32, regs, #tile.wgmma>
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
      // CHECK: %[[T:.*]] = tile.await %early
      %0 = tile.await %early
      // CHECK-NEXT: %rr = tile.read %[[T]] : !tile.tile<128x64xf16, regs, #tile.wgmma>
      %rr = tile.read %0 : !tile.tile<128x64xf16, regs, #tile.wgmma>
      // CHECK-NEXT: tile.release %early
      tile.release %early
      %o = tile.map (%1 = %p, %q = %rr) {
        %s = arith.extf %q : f16 to f32
        %t2 = arith.addf %1, %s : f32
        %2 = arith.truncf %t2 : f32 to f16
        tile.yield %2
      } : !tile.tile<128x64xf16, regs, #tile.wgmma>
      tile.store %o, %y[%i, %j] access 2
    }
  }
}

