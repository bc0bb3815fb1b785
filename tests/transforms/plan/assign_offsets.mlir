// RUN: stepwell-opt %s -p plan-assign-offsets | filecheck %s
// RUN: stepwell-opt %s -p plan-assign-offsets,plan-assign-offsets | filecheck %s
// RUN: not stepwell-opt %s -p 'plan-assign-offsets{limit=512}' 2>&1 | filecheck %s --check-prefix=LIMIT
// RUN: stepwell-opt %s -p 'plan-assign-offsets{limit=768}' | filecheck %s
// RUN: stepwell-opt %s -p plan-assign-offsets --remarks-filter plan 2>&1 | filecheck %s --check-prefix=REMARK

// LIMIT: error: plan-assign-offsets: the arena takes 768 bytes, more than the limit of 512
// LIMIT-NEXT: hint: a smaller batch, or a larger limit
// REMARK: [analysis] plan-assign-offsets: module: arena 768 bytes (23% less than 1000 without sharing, 0.0% above the lower bound 768); constants 512 bytes (768 without sharing)
builtin.module attributes {stepwell.level = "plan"} {
  func.func private @k() -> ()
  // CHECK: plan.program @main arena 768 constants 512 {
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<50xf32>
    %y = plan.binding "y" output : !plan.buffer<50xf32>
    // The same stored bytes and recipe under two names are one constant; another recipe is another.
    // CHECK: tensor<64xf32>, []> at 0 :
    %u = plan.constant #graph.weight<"u", "0000000000000000000000000000000000000000000000000000000000000000", tensor<64xf32>, []> : !plan.buffer<64xf32>
    // CHECK: tensor<64xf32>, []> at 0 :
    %v = plan.constant #graph.weight<"v", "0000000000000000000000000000000000000000000000000000000000000000", tensor<64xf32>, []> : !plan.buffer<64xf32>
    // CHECK: tensor<64xf32>, [#graph.step<"reshape", [8, 8]>]> at 256 :
    %w = plan.constant #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<64xf32>, [#graph.step<"reshape", [8, 8]>]> : !plan.buffer<8x8xf32>
    // CHECK: plan.slice at 0 live [0, 1] : !plan.buffer<100xf32>
    %a = plan.slice live [0, 1] : !plan.buffer<100xf32>
    plan.launch @k(%x) outs(%a) : (!plan.buffer<50xf32>) outs(!plan.buffer<100xf32>)
    // CHECK: plan.slice at 512 live [1, 2] : !plan.buffer<50xf32>
    %b = plan.slice live [1, 2] : !plan.buffer<50xf32>
    plan.launch @k(%a, %u, %v, %w) outs(%b) : (!plan.buffer<100xf32>, !plan.buffer<64xf32>, !plan.buffer<64xf32>, !plan.buffer<8x8xf32>) outs(!plan.buffer<50xf32>)
    // CHECK: plan.slice at 0 live [2, 3] : !plan.buffer<100xf32>
    %c = plan.slice live [2, 3] : !plan.buffer<100xf32>
    plan.launch @k(%b) outs(%c) : (!plan.buffer<50xf32>) outs(!plan.buffer<100xf32>)
    plan.launch @k(%c) outs(%y) : (!plan.buffer<100xf32>) outs(!plan.buffer<50xf32>)
  }
}
