// RUN: not stepwell-opt %s 2>&1 | filecheck %s
// CHECK: plan.launch @copy: the rows of argument 0 are aligned to 4 bytes, the kernel relies on 16

builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @copy(%x: !tile.ref<2xf16, plain, align 16>) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [64, 32], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [64, 32] {
      %t = tile.load %x[%i, %j] : !tile.tile<64x32xf16, regs>
      tile.store %t, %y[%i, %j]
    }
  }
  plan.program @main {
    %a = plan.binding "a" input : !plan.buffer<64x10xf16>
    %b = plan.binding "b" output : !plan.buffer<64x10xf16>
    plan.launch @copy(%a) outs(%b) : (!plan.buffer<64x10xf16>) outs(!plan.buffer<64x10xf16>)
  }
}
