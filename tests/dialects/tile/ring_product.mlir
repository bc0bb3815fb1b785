// RUN: stepwell-opt %s | stepwell-opt | filecheck %s

// A product with bias, residual and relu, as it is after all passes on tiles: what loads, what multiplies, and what both say to each other.
// CHECK: tile.kernel @product
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @product(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>, %b: !tile.ref<1xf32, plain, constant>, %r: !tile.ref<2xf16, plain>) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [128, 64], k = 64, stages = 4, warps = 12, copy = tma, mma = wgmma, swizzle = 128, blocks_per_multiprocessor = 2> {
    // CHECK-NEXT: %ab = tile.ring slots 4 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>) at 0 barriers 98304
    %ab = tile.ring slots 4 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>) at 0 barriers 98304
    // CHECK-NEXT: tile.role "load" warpgroups 1 {
    tile.role "load" warpgroups 1 {
      // CHECK-NEXT: tile.for_tiles (%i, %j) of %y block [128, 64] first 1 {
      tile.for_tiles (%i, %j) of %y block [128, 64] first 1 {
        // CHECK-NEXT: tile.for (%t, %k) of %x dims [1, 2] step [1, 64] first 4 {
        tile.for (%t, %k) of %x dims [1, 2] step [1, 64] first 4 {
          // CHECK-NEXT: tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
          tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
        }
      }
      // CHECK: tile.wait_predecessor
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [128, 64] {
        tile.for (%t, %k) of %x dims [1, 2] step [1, 64] {
          // CHECK: tile.fetch %w[%{{.*}}, %{{.*}}, %{{.*}}] dims = [0, 2] to %ab#1 via tma rest
          tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma rest
          // CHECK-NEXT: tile.fetch %x[%{{.*}}, %{{.*}}, %{{.*}}] dims = [0, 2] to %ab#0 via tma
          tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
        }
      }
    }
    // CHECK: tile.role "multiply" warpgroups 2 {
    tile.role "multiply" warpgroups 2 {
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [128, 64] {
        %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs, #tile.wgmma>
        // CHECK: %acc = tile.for (%{{.*}}, %{{.*}}) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<128x64xf32, regs, #tile.wgmma> {
        %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<128x64xf32, regs, #tile.wgmma> {
          // CHECK-NEXT: %a, %bt = tile.await %ab
          %a, %bt = tile.await %ab
          // CHECK-NEXT: %d = tile.mma %a, %bt, %c async
          %d = tile.mma %a, %bt, %c async
          // CHECK-NEXT: tile.release %ab behind 1
          tile.release %ab behind 1
          tile.yield %d
        }
        // CHECK: %p = tile.finish %acc
        %p = tile.finish %acc
        // CHECK-NEXT: tile.release %ab
        tile.release %ab
        // CHECK-NEXT: %bias = tile.load %b[%{{.*}}] access 2 : !tile.tile<64xf32, regs, #tile.slice<0, #tile.wgmma>>
        %bias = tile.load %b[%j] access 2 : !tile.tile<64xf32, regs, #tile.slice<0, #tile.wgmma>>
        %bb = tile.broadcast %bias dims [1] : !tile.tile<128x64xf32, regs, #tile.wgmma>
        %rr = tile.load %r[%i, %j] access 2 : !tile.tile<128x64xf16, regs, #tile.wgmma>
        %o = tile.map (%1 = %p, %2 = %bb, %3 = %rr) {
          %4 = arith.addf %1, %2 : f32
          %5 = arith.extf %3 : f16 to f32
          %6 = arith.addf %4, %5 : f32
          %zero = arith.constant 0.0 : f32
          %7 = arith.maximumf %6, %zero : f32
          %8 = arith.truncf %7 : f32 to f16
          tile.yield %8
        } : !tile.tile<128x64xf16, regs, #tile.wgmma>
        // CHECK: tile.store %{{.*}}, %y[%{{.*}}, %{{.*}}] access 2
        tile.store %o, %y[%i, %j] access 2
      }
    }
  }
}
