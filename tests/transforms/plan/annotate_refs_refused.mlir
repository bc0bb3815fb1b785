// RUN: not stepwell-opt %s -p plan-annotate-refs 2>&1 | filecheck %s
// CHECK: error: plan-annotate-refs: the module names no target
// CHECK-NEXT: hint: stepwell.target = "sm_90a"

builtin.module attributes {stepwell.level = "plan"} {
  plan.program @main {
    %a = plan.binding "a" input : !plan.buffer<64x10xf16>
  }
}
