// RUN: stepwell-opt %s -p 'stepwell-convert-tile-to-warp'
// VerifyException: warp.gather: fill is i32, elements are i32; use f16 or f32 for both
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @y(%e0: !tile.ref<2xi32, plain> loc(unknown)) -> (%y: !tile.ref<2xi32, plain> loc(unknown)) config #tile.config<block = [8, 8], warps = 4> {
    tile.wait_predecessor loc("y")
    tile.for_tiles (%i, %j) of %y block [8, 8] {
      %e0_1 = tile.load %e0[%i, %j] : !tile.tile<8x8xi32, regs> loc("y")
      %o = tile.map (%0 = %e0_1) {
        %1 = arith.constant 0 : i32 loc("y")
        %2 = arith.maxsi %0, %1 : i32 loc("y")
        tile.yield %2 loc("y")
      } : !tile.tile<8x8xi32, regs> loc("y")
      tile.store %o, %y[%i, %j] loc("y")
    } loc("y")
  } loc("y")
  plan.program @main arena 0 constants 0 {
    %x = plan.binding "x" input : !plan.buffer<5x7xi32> loc("x")
    %y = plan.binding "y" output : !plan.buffer<5x7xi32> loc("y")
    plan.launch @y(%x) outs(%y) : (!plan.buffer<5x7xi32>) outs(!plan.buffer<5x7xi32>) loc("y")
  } loc("g")
} loc("g")
