// RUN: stepwell-opt %s -p 'plan-annotate-refs,tile-assign-copies,tile-assign-layouts,tile-pipeline-loops,tile-split-roles,tile-place-loads,tile-hoist-constants,tile-allocate-shared,stepwell-convert-tile-to-hopper' | filecheck %s

// CHECK: stepwell.level = "kernel"
// CHECK:      warp.kernel @fc(%map_a: !hopper.tensor_map<tiled f16 [64, 1, 128] swizzle 128>, %map_b: !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>, %p2: !warp.global<f32>, %p3: !warp.global<f16>, %ld3: i32, %m: i32, %n: i32,
// CHECK-SAME: threads 384 shared 98368 min_blocks 1 {
// CHECK:        hopper.mbarrier_init %{{.*}} count 8
// CHECK:        warp.barrier 0 threads 384
// CHECK-NEXT:   warp.launch_dependents
// CHECK-NEXT:   hopper.role "load" warpgroups 1 from 0 {
// CHECK:          hopper.expect_more_bytes %{{.*}}, 8192
// CHECK:          hopper.tma_load %map_b
// CHECK:          warp.wait_predecessor
// CHECK:          hopper.wait %empty parity
// CHECK:          hopper.expect_bytes %{{.*}}, 16384
// CHECK:          hopper.tma_load %map_a[%k{{.*}}, %t{{.*}}, %i{{.*}}]
// CHECK:        hopper.role "multiply" warpgroups 2 from 1 {
// CHECK:          %[[COLUMNS:.*]] = warp.fragment_load_row %p2[%j{{.*}}] bounds[%n] <wgmma 64x64> access 2
// CHECK:          hopper.wgmma %{{.*}} "f16" instructions 4 : !hopper.pending<vector<32xf32>>
// CHECK-NEXT:     hopper.wgmma_wait %{{.*}} pending 1
// CHECK:          hopper.arrive %{{.*}} if
// CHECK:          %product = hopper.wgmma_wait %{{.*}} pending 0
// CHECK:          %[[BIAS:.*]] = warp.spread %[[COLUMNS]] "cols" <wgmma 64x64> : vector<16xf32> -> vector<32xf32>
// CHECK:          arith.addf %product, %[[BIAS]]
// CHECK-NEXT:     arith.maximumf
// CHECK-NEXT:     arith.truncf
// CHECK-NEXT:     warp.fragment_store %{{.*}}, %p3[%row{{.*}}, %j{{.*}}] stride %ld3 bounds[%m, %n] <wgmma 64x64> access 2
// CHECK:      %[[A:.*]] = plan.tensor_map tiled %x box [128, 1, 64] swizzle 128
// CHECK-NEXT: %[[B:.*]] = plan.tensor_map tiled %w box [64, 1, 64] swizzle 128
// CHECK-NEXT: %ld3 = plan.stride %y[0]
// CHECK-NEXT: %m = plan.extent %y[0]
// CHECK-NEXT: %n = plan.extent %y[1]
// CHECK-NEXT: %channels = plan.extent %x[2]
// CHECK-NEXT: %[[TAPS:.*]] = plan.extent %x[1]
// CHECK-NEXT: %[[BLOCKS:.*]] = plan.ceil_div %channels, 64 : i32
// CHECK-NEXT: %steps = plan.multiply %[[TAPS]], %[[BLOCKS]] : i32
// CHECK-NEXT: %[[ROWS:.*]] = plan.ceil_div %m, 128 : i32
// CHECK-NEXT: %inner = plan.ceil_div %n, 64 : i32
// CHECK-NEXT: %tiles = plan.multiply %[[ROWS]], %inner : i32
// CHECK-NEXT: %inner_mul = plan.magic_multiplier %inner
// CHECK-NEXT: %inner_shift = plan.magic_shift %inner
// CHECK-NEXT: %blocks = plan.minimum %tiles, 132 : i32
// CHECK-NEXT: plan.launch @fc(%[[A]], %[[B]], %b, %y, %ld3, %m, %n, %channels, %steps, %tiles, %inner, %inner_mul, %inner_shift)
// CHECK-SAME: grid %blocks block [384, 1, 1] shared 98368 pdl true reads [0, 1, 2] writes [3]
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
    %x = plan.binding "x" input : !plan.buffer<512x1x256xf16>
    %y = plan.binding "y" output : !plan.buffer<512x128xf16>
    %w = plan.constant dense<0.0> : tensor<128x1x256xf16> : !plan.buffer<128x1x256xf16>
    %b = plan.constant dense<0.0> : tensor<128xf32> : !plan.buffer<128xf32>
    plan.launch @fc(%x, %w, %b) outs(%y) : (!plan.buffer<512x1x256xf16>, !plan.buffer<128x1x256xf16>, !plan.buffer<128xf32>) outs(!plan.buffer<512x128xf16>)
  }
}
