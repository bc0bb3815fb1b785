// RUN: stepwell-opt %s | stepwell-opt | filecheck %s

// A convolution in tf32 with many columns: pixels come by im2col, roles have register budgets, the bias is loaded before the product.
// CHECK: tile.kernel @convolution
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @convolution(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, packed, constant>, %b: !tile.ref<1xf32, plain, constant>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [128, 128], k = 32, stages = 4, warps = 12, copy = tma_im2col, mma = wgmma, swizzle = 128> {
    %ab = tile.ring slots 4 (128x32xf32 #tile.shared<128>, 128x32xf32 #tile.shared<128>) at 0 barriers 131072
    // CHECK: tile.role "load" warpgroups 1 registers 40 {
    tile.role "load" warpgroups 1 registers 40 {
      tile.for_tiles (%i, %j) of %y block [128, 128] first 1 {
        tile.for (%t, %k) of %x dims [1, 2] step [1, 32] first 4 {
          tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma as tf32
        }
      }
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [128, 128] {
        tile.for (%t, %k) of %x dims [1, 2] step [1, 32] {
          // CHECK: tile.fetch %w[%{{.*}}, %{{.*}}, %{{.*}}] dims = [0, 2] to %ab#1 via tma as tf32 rest
          tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma as tf32 rest
          // CHECK-NEXT: tile.fetch %x[%{{.*}}, %{{.*}}, %{{.*}}] dims = [0, 2] to %ab#0 via tma_im2col as tf32
          tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma_im2col as tf32
        }
      }
    }
    // CHECK: tile.role "multiply" warpgroups 2 registers 232 {
    tile.role "multiply" warpgroups 2 registers 232 {
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [128, 128] {
        %bias = tile.load %b[%j] access 2 : !tile.tile<128xf32, regs, #tile.slice<0, #tile.wgmma>>
        %z = tile.fill 0.0 : f32 -> !tile.tile<128x128xf32, regs, #tile.wgmma>
        %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 32] iter (%c = %z) -> !tile.tile<128x128xf32, regs, #tile.wgmma> {
          %a, %bt = tile.await %ab
          %d = tile.mma %a, %bt, %c async
          tile.release %ab behind 1
          tile.yield %d
        }
        %p = tile.finish %acc
        tile.release %ab
        %bb = tile.broadcast %bias dims [1] : !tile.tile<128x128xf32, regs, #tile.wgmma>
        %o = tile.map (%1 = %p, %2 = %bb) {
          %3 = arith.addf %1, %2 : f32
          tile.yield %3
        } : !tile.tile<128x128xf32, regs, #tile.wgmma>
        tile.store %o, %y[%i, %j] access 2
      }
    }
  }
}
