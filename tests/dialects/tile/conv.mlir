// RUN: stepwell-opt %s | stepwell-opt | filecheck %s

// CHECK: tile.kernel @conv
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @conv(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, packed, constant>, %b: !tile.ref<1xf32, plain, constant>, %r: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [128, 64], k = 32, stages = 4, warps = 12, copy = tma_im2col, mma = wgmma, swizzle = 128> {
    tile.wait_predecessor
    // CHECK: tile.for_tiles (%{{.*}}, %{{.*}}) of %{{.*}} block [128, 64] {
    tile.for_tiles (%i, %j) of %y block [128, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs>
      // CHECK: tile.for (%{{.*}}, %{{.*}}) of %{{.*}} dims [1, 2] step [1, 32] iter (%{{.*}} = %{{.*}}) -> !tile.tile<128x64xf32, regs> {
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 32] iter (%c = %z) -> !tile.tile<128x64xf32, regs> {
        // CHECK-NEXT: tile.load %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}] dims = [0, 2] : !tile.tile<128x32xf32, ring>
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<128x32xf32, ring>
        %bw = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x32xf32, ring>
        // CHECK: tile.mma
        %d = tile.mma %a, %bw, %c
        tile.yield %d
      }
      %bias = tile.load %b[%j] : !tile.tile<64xf32, regs>
      // CHECK: tile.broadcast %{{.*}} dims [1] : !tile.tile<128x64xf32, regs>
      %bb = tile.broadcast %bias dims [1] : !tile.tile<128x64xf32, regs>
      %rr = tile.load %r[%i, %j] : !tile.tile<128x64xf32, regs>
      // CHECK: tile.map
      %o = tile.map (%p = %acc, %q = %bb, %s = %rr) {
        %1 = arith.addf %p, %q : f32
        %2 = arith.addf %1, %s : f32
        tile.yield %2
      } : !tile.tile<128x64xf32, regs>
      // CHECK: tile.store
      tile.store %o, %y[%i, %j]
    }
  }
  func.func @main(%x: tensor<128x8x8x64xf32>, %w: tensor<64x9x64xf32>, %b: tensor<64xf32>, %r: tensor<8192x64xf32>) -> tensor<8192x64xf32> {
    // CHECK: tile.window %{{.*}} kernel [3, 3] pads [1, 1, 1, 1] : tensor<128x8x8x64xf32> -> !tile.view<8192x9x64xf32>
    %v = tile.window %x kernel [3, 3] pads [1, 1, 1, 1] : tensor<128x8x8x64xf32> -> !tile.view<8192x9x64xf32>
    // CHECK: tile.apply @conv
    %y = tile.apply @conv(%v, %w, %b, %r) : (!tile.view<8192x9x64xf32>, tensor<64x9x64xf32>, tensor<64xf32>, tensor<8192x64xf32>) -> tensor<8192x64xf32>
    func.return %y : tensor<8192x64xf32>
  }
}
