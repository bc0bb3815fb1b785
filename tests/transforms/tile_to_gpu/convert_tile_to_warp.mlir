// RUN: stepwell-opt %s -p plan-annotate-refs,tile-assign-layouts,stepwell-convert-tile-to-warp | filecheck %s

// CHECK: stepwell.level = "kernel"
// CHECK:      warp.kernel @stem(%across: i32
// CHECK-SAME: threads 128 shared 0 {
// CHECK:        warp.launch_dependents
// CHECK-NEXT:   warp.wait_predecessor
// CHECK:        warp.fragment_index "rows" <blocked 64x32 threads 128 width 4> : vector<4xi32>
// CHECK:        %exists = warp.within %rows below
// CHECK:        scf.for %d1 =
// CHECK:          scf.for %d2 =
// CHECK:            warp.gather %p0[%{{.*}}] if %inside else %{{.*}} width 1 : !warp.global<f32>, vector<4xi32>, vector<4xi1>, f32 -> vector<4xf32>
// CHECK-NEXT:       warp.spread %{{.*}} "rows"
// CHECK:            warp.gather %p1[%{{.*}}] if %{{.*}} else %{{.*}} width 4 : !warp.global<f32>, vector<1xi32>, vector<1xi1>, f32 -> vector<4xf32>
// CHECK-NEXT:       warp.spread %{{.*}} "cols"
// CHECK-NEXT:       arith.mulf
// CHECK-NEXT:       arith.addf
// CHECK:        warp.fragment_store %{{.*}}, %p3[%i, %j] stride %{{.*}} bounds[%{{.*}}, %{{.*}}] <blocked 64x32 threads 128 width 4> access 4
// CHECK:      warp.kernel @pool
// CHECK:          warp.gather %p0[%{{.*}}] if %{{.*}} else %{{.*}} width 4
// CHECK:          arith.maximumf
// CHECK:      %[[V:.*]] = plan.window %x
// CHECK:      %across = plan.ceil_div %{{.*}}, 32 : i32
// CHECK:      %row0 = plan.geometry %[[V]] output[1]
// CHECK:      %channels0 = plan.extent %x[3]
// CHECK:      %[[DOWN:.*]] = plan.ceil_div %{{.*}}, 64 : i32
// CHECK:      %blocks = plan.multiply %[[DOWN]], %across : i32
// CHECK:      plan.launch @stem(
// CHECK-SAME: grid %blocks block [128, 1, 1] shared 0 pdl true
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @stem(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, plain>, %b: !tile.ref<1xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [64, 32], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [64, 32] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<64x32xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 1] iter (%c = %z) -> !tile.tile<64x32xf32, regs> {
        %a = tile.load %x[%i, %t, %k] dims = [0] : !tile.tile<64xf32, regs>
        %ab = tile.broadcast %a dims [0] : !tile.tile<64x32xf32, regs>
        %bw = tile.load %w[%t, %k, %j] dims = [2] : !tile.tile<32xf32, regs>
        %bb = tile.broadcast %bw dims [1] : !tile.tile<64x32xf32, regs>
        %d = tile.map (%p = %ab, %q = %bb, %s = %c) {
          %m = arith.mulf %p, %q : f32
          %n = arith.addf %m, %s : f32
          tile.yield %n
        } : !tile.tile<64x32xf32, regs>
        tile.yield %d
      }
      %bias = tile.load %b[%j] : !tile.tile<32xf32, regs>
      %bb = tile.broadcast %bias dims [1] : !tile.tile<64x32xf32, regs>
      %o = tile.map (%p = %acc, %q = %bb) {
        %1 = arith.addf %p, %q : f32
        %cst = arith.constant 0.0 : f32
        %2 = arith.maximumf %1, %cst : f32
        tile.yield %2
      } : !tile.tile<64x32xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  tile.kernel @pool(%x: !tile.ref<3xf32, window>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [64, 32], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [64, 32] {
      %z = tile.fill 0xFF800000 : f32 -> !tile.tile<64x32xf32, regs>
      %acc = tile.for (%t) of %x dims [1] step [1] iter (%c = %z) -> !tile.tile<64x32xf32, regs> {
        %a = tile.load %x[%i, %t, %j] dims = [0, 2] fill = 0xFF800000 : f32 : !tile.tile<64x32xf32, regs>
        %d = tile.map (%p = %a, %s = %c) {
          %n = arith.maximumf %p, %s : f32
          tile.yield %n
        } : !tile.tile<64x32xf32, regs>
        tile.yield %d
      }
      tile.store %acc, %y[%i, %j]
    }
  }
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<4x9x7x3xf32>
    %w = plan.binding "w" input : !plan.buffer<9x3x40xf32>
    %b = plan.binding "b" input : !plan.buffer<40xf32>
    %h = plan.slice live [0, 1] : !plan.buffer<252x40xf32>
    %y = plan.binding "y" output : !plan.buffer<80x40xf32>
    %v = plan.window %x kernel [3, 3] strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] fill 0.0 : f32 : !plan.buffer<4x9x7x3xf32> -> !plan.window<252x9x3xf32>
    plan.launch @stem(%v, %w, %b) outs(%h) : (!plan.window<252x9x3xf32>, !plan.buffer<9x3x40xf32>, !plan.buffer<40xf32>) outs(!plan.buffer<252x40xf32>)
    %h4 = plan.view %h : !plan.buffer<252x40xf32> -> !plan.buffer<4x9x7x40xf32>
    %v2 = plan.window %h4 kernel [3, 3] strides [2, 2] pads [1, 1, 1, 1] dilations [1, 1] fill 0xFF800000 : f32 : !plan.buffer<4x9x7x40xf32> -> !plan.window<80x9x40xf32>
    plan.launch @pool(%v2) outs(%y) : (!plan.window<80x9x40xf32>) outs(!plan.buffer<80x40xf32>)
  }
}
