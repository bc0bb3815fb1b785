// RUN: stepwell-opt %s -p 'tile-split-reduction{parts=4}' | filecheck %s

// The name of the parts is taken by a kernel of the network.
// CHECK-DAG: tile.kernel @fc_parts_0(
// CHECK-DAG: tile.kernel @fc(
// CHECK-DAG: tile.kernel @fc_parts(
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>, %b: !tile.ref<1xf32, plain, constant>) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [128, 64], k = 64, stages = 4, warps = 12, copy = tma, mma = wgmma, swizzle = 128> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<128x64xf32, regs> {
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<128x64xf16, ring>
        %bw = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x64xf16, ring>
        %d = tile.mma %a, %bw, %c
        tile.yield %d
      }
      %bias = tile.load %b[%j] : !tile.tile<64xf32, regs>
      %bb = tile.broadcast %bias dims [1] : !tile.tile<128x64xf32, regs>
      %o = tile.map (%p = %acc, %q = %bb) {
        %1 = arith.addf %p, %q : f32
        %2 = arith.truncf %1 : f32 to f16
        tile.yield %2
      } : !tile.tile<128x64xf16, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  tile.kernel @fc_parts(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>, %b: !tile.ref<1xf32, plain, constant>) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [128, 64], k = 64, stages = 4, warps = 12, copy = tma, mma = wgmma, swizzle = 128> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<128x64xf32, regs> {
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<128x64xf16, ring>
        %bw = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x64xf16, ring>
        %d = tile.mma %a, %bw, %c
        tile.yield %d
      }
      %bias = tile.load %b[%j] : !tile.tile<64xf32, regs>
      %bb = tile.broadcast %bias dims [1] : !tile.tile<128x64xf32, regs>
      %o = tile.map (%p = %acc, %q = %bb) {
        %1 = arith.addf %p, %q : f32
        %2 = arith.truncf %1 : f32 to f16
        tile.yield %2
      } : !tile.tile<128x64xf16, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  func.func @main(%x: tensor<100x1x512xf16>) -> tensor<100x72xf16> {
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<72x1x512xf16>, []> : tensor<72x1x512xf16>
    %b = graph.weight #graph.weight<"b", "0000000000000000000000000000000000000000000000000000000000000000", tensor<72xf32>, []> : tensor<72xf32>
    %y = tile.apply @fc(%x, %w, %b) : (tensor<100x1x512xf16>, tensor<72x1x512xf16>, tensor<72xf32>) -> tensor<100x72xf16>
    func.return %y : tensor<100x72xf16>
  }
}
