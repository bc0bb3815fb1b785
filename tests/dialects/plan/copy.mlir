// A network whose output no kernel writes: plan.copy brings it to the caller, after every launch.
// RUN: stepwell-opt %s | stepwell-opt -f mlir | filecheck %s

builtin.module attributes {stepwell.level = "plan"} {
  // CHECK: plan.program @main arena 0 constants 0 {
  plan.program @main arena 0 constants 0 {
    %x = plan.binding "x" input : !plan.buffer<2x8xf32>
    %y = plan.binding "y" output : !plan.buffer<16xf32>
    %v = plan.view %x : !plan.buffer<2x8xf32> -> !plan.buffer<16xf32>
    // CHECK: plan.copy %v to %y : !plan.buffer<16xf32> to !plan.buffer<16xf32>
    plan.copy %v to %y : !plan.buffer<16xf32> to !plan.buffer<16xf32>
  }
}
