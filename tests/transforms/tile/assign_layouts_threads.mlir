// RUN: stepwell-opt %s -p plan-annotate-refs,tile-assign-layouts | filecheck %s
// RUN: stepwell-opt %s -p plan-annotate-refs,tile-assign-layouts,tile-assign-layouts | filecheck %s
// RUN: stepwell-opt %s -p plan-annotate-refs,tile-assign-layouts --remarks-filter 'tile-assign-layouts' 2>&1 | filecheck %s --check-prefix=REMARK

// A kernel without a product lies over rows of threads; rows of 42 bytes let nobody access two elements at once; sums along rows lie in one warp.
// REMARK: remark: [passed] tile-assign-layouts: {{.*}}4 register tiles over 128 threads (#tile.threads<16x8, width 4>), 1 vectors as slices of it
// REMARK: remark: [missed] tile-assign-layouts: {{.*}}tile.load of parameter 0 goes element by element: no launch promises rows of whole vectors
// CHECK: tile.kernel @wide
// CHECK: tile.load %x[%i, %j] access 4 : !tile.tile<64x32xf32, regs, #tile.threads<16x8, width 4>>
// CHECK: tile.load %b[%j] access 4 : !tile.tile<32xf32, regs, #tile.slice<0, #tile.threads<16x8, width 4>>>
// CHECK: tile.broadcast %{{.*}} dims [1] : !tile.tile<64x32xf32, regs, #tile.threads<16x8, width 4>>
// CHECK: tile.store %{{.*}}, %y[%i, %j] access 4
// CHECK: tile.kernel @narrow
// CHECK: tile.load %x[%i, %j] : !tile.tile<64x32xf16, regs, #tile.threads<4x32, width 1>>
// CHECK: tile.kernel @sums
// CHECK: tile.load %x[%i, %j] access 4 : !tile.tile<4x1024xf32, regs, #tile.threads<4x32, width 4>>
// CHECK: tile.store %{{.*}}, %y[%i, %j] access 4
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @wide(%x: !tile.ref<2xf32, plain>, %b: !tile.ref<1xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [64, 32], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [64, 32] {
      %a = tile.load %x[%i, %j] : !tile.tile<64x32xf32, regs>
      %bias = tile.load %b[%j] : !tile.tile<32xf32, regs>
      %bb = tile.broadcast %bias dims [1] : !tile.tile<64x32xf32, regs>
      %z = tile.fill 0.0 : f32 -> !tile.tile<64x32xf32, regs>
      %o = tile.map (%p = %a, %q = %bb, %s = %z) {
        %1 = arith.addf %p, %q : f32
        %2 = arith.maximumf %1, %s : f32
        tile.yield %2
      } : !tile.tile<64x32xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  tile.kernel @narrow(%x: !tile.ref<2xf16, plain>) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [64, 32], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [64, 32] {
      %a = tile.load %x[%i, %j] : !tile.tile<64x32xf16, regs>
      tile.store %a, %y[%i, %j]
    }
  }
  tile.kernel @sums(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [4, 1024], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 1024] {
      %a = tile.load %x[%i, %j] : !tile.tile<4x1024xf32, regs>
      %l = tile.reduce add %a dims [1]
      %lb = tile.broadcast %l dims [0] : !tile.tile<4x1024xf32, regs>
      %o = tile.map (%p = %a, %q = %lb) {
        %1 = arith.divf %p, %q : f32
        tile.yield %1
      } : !tile.tile<4x1024xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<100x64xf32>
    %b = plan.binding "b" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<100x64xf32>
    %h = plan.binding "h" input : !plan.buffer<100x21xf16>
    %k = plan.binding "k" output : !plan.buffer<100x21xf16>
    %s = plan.binding "s" input : !plan.buffer<100x1024xf32>
    %t = plan.binding "t" output : !plan.buffer<100x1024xf32>
    plan.launch @wide(%x, %b) outs(%y) : (!plan.buffer<100x64xf32>, !plan.buffer<64xf32>) outs(!plan.buffer<100x64xf32>)
    plan.launch @narrow(%h) outs(%k) : (!plan.buffer<100x21xf16>) outs(!plan.buffer<100x21xf16>)
    plan.launch @sums(%s) outs(%t) : (!plan.buffer<100x1024xf32>) outs(!plan.buffer<100x1024xf32>)
  }
}
