// RUN: stepwell-opt %s -p plan-annotate-refs,tile-assign-layouts,stepwell-convert-tile-to-warp | filecheck %s

// Rows in registers: what does not exist is left out of the maximum, which is folded in the thread and then between the 32 lanes of its row. One lane
// writes the vector.
// CHECK: warp.kernel @rows(%{{.*}}) threads 128 shared 0 {
// CHECK: warp.fragment_index "rows" <blocked 4x128 threads 128 width 4> : vector<1xi32>
// CHECK: warp.gather %p0[%{{.*}}] if %{{.*}} else %{{.*}} width 4
// CHECK: warp.within %{{.*}} below %{{.*}} : vector<4xi32> -> vector<4xi1>
// CHECK: warp.shuffle %{{.*}} xor 1 : vector<1xf32>
// CHECK-NEXT: arith.maximumf
// CHECK: warp.shuffle %{{.*}} xor 16 : vector<1xf32>
// CHECK: warp.spread %{{.*}} "rows" <blocked 4x128 threads 128 width 4> : vector<1xf32> -> vector<4xf32>
// CHECK: warp.fragment_store
// CHECK: warp.scatter %{{.*}}, %p2[%{{.*}}] if %{{.*}} width 1
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @rows(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>, %m: !tile.ref<1xf32, plain>) config #tile.config<block = [4, *], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %x block [4, *] {
      %v = tile.load %x[%i, %j] : !tile.tile<4x128xf32, regs>
      %in = tile.inside %x[%i, %j] : !tile.tile<4x128xi1, regs>
      %low = tile.map (%a = %v, %b = %in) {
        %0 = arith.constant 0xFF800000 : f32
        %1 = arith.select %b, %a, %0 : f32
        tile.yield %1
      } : !tile.tile<4x128xf32, regs>
      %most = tile.reduce max %low dims [1]
      %mb = tile.broadcast %most dims [0] : !tile.tile<4x128xf32, regs>
      %o = tile.map (%a = %v, %b = %mb) {
        %0 = arith.subf %a, %b : f32
        tile.yield %0
      } : !tile.tile<4x128xf32, regs>
      tile.store %o, %y[%i, %j]
      tile.store %most, %m[%i]
    }
  }
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<10x100xf32>
    %y = plan.binding "y" output : !plan.buffer<10x100xf32>
    %m = plan.binding "m" output : !plan.buffer<10xf32>
    plan.launch @rows(%x) outs(%y, %m) : (!plan.buffer<10x100xf32>) outs(!plan.buffer<10x100xf32>, !plan.buffer<10xf32>)
  }
}
