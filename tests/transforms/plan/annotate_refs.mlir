// RUN: stepwell-opt %s -p plan-annotate-refs | filecheck %s
// RUN: stepwell-opt %s -p plan-annotate-refs,plan-annotate-refs | filecheck %s
// RUN: stepwell-opt %s -p plan-annotate-refs --remarks-filter=plan-annotate-refs 2>&1 | filecheck %s --check-prefix=REMARK

// The first and the last launch know the same of their operands; the rows of the second are 20 bytes, and those of a slice of columns begin at 8.
// CHECK: tile.kernel @relu(%x: !tile.ref<2xf16, plain, align 16>) -> (%y: !tile.ref<2xf16, plain, align 16>)
// CHECK: tile.kernel @relu_1(%x: !tile.ref<2xf16, plain, align 4>) -> (%y: !tile.ref<2xf16, plain, align 4>)
// CHECK: tile.kernel @relu_2(%x: !tile.ref<2xf16, plain>) -> (%y: !tile.ref<2xf16, plain, align 8>)
// CHECK: plan.launch @relu(%image) outs(%a)
// CHECK: plan.launch @relu_1(%b) outs(%c)
// CHECK: plan.launch @relu_2(%d) outs(%e)
// CHECK: plan.launch @relu(%a) outs(%out)

// REMARK: remark: {{.*}}@relu: rows aligned to [16, 16] bytes
// REMARK: @relu_2: rows of operand 0 are read and written element by element

builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @relu(%x: !tile.ref<2xf16, plain>) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [64, 32], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [64, 32] {
      %t = tile.load %x[%i, %j] : !tile.tile<64x32xf16, regs>
      tile.store %t, %y[%i, %j]
    }
  }
  plan.program @main {
    %image = plan.binding "image" input : !plan.buffer<64x64xf16>
    %b = plan.binding "b" input : !plan.buffer<64x10xf16>
    %d = plan.binding "d" input : !plan.buffer<64x7xf16>
    %out = plan.binding "out" output : !plan.buffer<64x64xf16>
    %c = plan.binding "c" output : !plan.buffer<64x10xf16>
    %e = plan.binding "e" output : !plan.buffer<64x4xf16>
    %a = plan.slice live [0, 3] : !plan.buffer<64x64xf16>
    plan.launch @relu(%image) outs(%a) : (!plan.buffer<64x64xf16>) outs(!plan.buffer<64x64xf16>)
    plan.launch @relu(%b) outs(%c) : (!plan.buffer<64x10xf16>) outs(!plan.buffer<64x10xf16>)
    plan.launch @relu(%d) outs(%e) : (!plan.buffer<64x7xf16>) outs(!plan.buffer<64x4xf16>)
    plan.launch @relu(%a) outs(%out) : (!plan.buffer<64x64xf16>) outs(!plan.buffer<64x64xf16>)
  }
}
