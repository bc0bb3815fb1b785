// RUN: not stepwell-opt %s -p 'tile-assign-copies,tile-assign-layouts,tile-pipeline-loops,tile-split-roles,tile-place-loads,tile-hoist-constants,tile-allocate-shared,stepwell-convert-tile-to-hopper' 2>&1 | filecheck %s

// CHECK: operand 0 has rows of 504 bytes: TMA takes multiples of 16
// CHECK: pad the channels
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
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
        %cst = arith.constant 0.0 : f32
        %2 = arith.maximumf %1, %cst : f32
        %3 = arith.truncf %2 : f32 to f16
        tile.yield %3
      } : !tile.tile<128x64xf16, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<512x1x252xf16>
    %y = plan.binding "y" output : !plan.buffer<512x128xf16>
    %w = plan.constant dense<0.0> : tensor<128x1x252xf16> : !plan.buffer<128x1x252xf16>
    %b = plan.constant dense<0.0> : tensor<128xf32> : !plan.buffer<128xf32>
    plan.launch @fc(%x, %w, %b) outs(%y) : (!plan.buffer<512x1x252xf16>, !plan.buffer<128x1x252xf16>, !plan.buffer<128xf32>) outs(!plan.buffer<512x128xf16>)
  }
}
