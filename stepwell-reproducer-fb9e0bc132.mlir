// RUN: stepwell-opt %s -p 'stepwell-convert-tile-to-warp'
// VerifyException: warp.gather: fill is f64, elements are f64; use f16 or f32 for both
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @y(%e0: !tile.ref<2xf64, plain> loc(unknown)) -> (%y: !tile.ref<2xf64, plain> loc(unknown)) config #tile.config<block = [8, 8], warps = 4> {
    tile.wait_predecessor loc("y")
    tile.for_tiles (%i, %j) of %y block [8, 8] {
      %e0_1 = tile.load %e0[%i, %j] : !tile.tile<8x8xf64, regs> loc("y")
      %o = tile.map (%0 = %e0_1) {
        %1 = math.erf %0 : f64 loc("y")
        tile.yield %1 loc("y")
      } : !tile.tile<8x8xf64, regs> loc("y")
      tile.store %o, %y[%i, %j] loc("y")
    } loc("y")
  } loc("y")
  plan.program @main arena 0 constants 0 {
    %x = plan.binding "x" input : !plan.buffer<5x7xf64> loc("x")
    %y = plan.binding "y" output : !plan.buffer<5x7xf64> loc("y")
    plan.launch @y(%x) outs(%y) : (!plan.buffer<5x7xf64>) outs(!plan.buffer<5x7xf64>) loc("y")
  } loc("g")
} loc("g")
