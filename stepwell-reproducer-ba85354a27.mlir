// RUN: stepwell-opt %s -p 'stepwell-convert-tile-to-warp'
// VerifyException: warp.fragment_store: cannot move elements of type i1; use f16 or f32
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @y(%e0: !tile.ref<2xf32, plain> loc(unknown)) -> (%y: !tile.ref<2xi1, plain> loc(unknown)) config #tile.config<block = [4, 8], warps = 4> {
    tile.wait_predecessor loc("y")
    tile.for_tiles (%i, %j) of %y block [4, 8] {
      %e0_1 = tile.load %e0[%i, %j] : !tile.tile<4x8xf32, regs> loc("y")
      %o = tile.map (%0 = %e0_1) {
        %1 = arith.constant 0.000000e+00 : f32 loc("y")
        %2 = arith.cmpf une, %0, %1 : f32 loc("y")
        tile.yield %2 loc("y")
      } : !tile.tile<4x8xi1, regs> loc("y")
      tile.store %o, %y[%i, %j] loc("y")
    } loc("y")
  } loc("y")
  plan.program @main arena 0 constants 0 {
    %x = plan.binding "x" input : !plan.buffer<4x8xf32> loc("x")
    %y = plan.binding "y" output : !plan.buffer<4x8xi1> loc("y")
    plan.launch @y(%x) outs(%y) : (!plan.buffer<4x8xf32>) outs(!plan.buffer<4x8xi1>) loc("y")
  } loc("g")
} loc("g")
