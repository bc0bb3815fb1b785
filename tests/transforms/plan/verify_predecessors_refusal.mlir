// RUN: not stepwell-opt %s -p plan-verify-predecessors 2>&1 | filecheck %s
// CHECK: error: conv: @first warp.fragment_load_row reaches parameter 0, which is no constant, before the wait for the predecessor
// CHECK-NEXT: hint: put warp.wait_predecessor in front of it, in every role that reaches it

builtin.module attributes {stepwell.level = "kernel", stepwell.target = "sm_90a"} {
  warp.kernel @first(%x: !warp.global<f32>, %y: !warp.global<f32>) threads 128 shared 0 {
    %zero = arith.constant 0 : i32
    %many = arith.constant 64 : i32
    %u = warp.fragment_load_row %x[%zero] bounds [%many] <wgmma 64x8> access 1 : !warp.global<f32> -> vector<2xf32>
    warp.wait_predecessor
    warp.return
  } loc("conv")
  plan.program @main arena 256 constants 0 {
    %g1 = arith.constant 1 : i32
    %image = plan.binding "image" input : !plan.buffer<64xf32>
    %out = plan.binding "out" output : !plan.buffer<64xf32>
    %a = plan.slice at 0 live [0, 1] : !plan.buffer<64xf32>
    plan.launch @first(%image, %a) grid %g1 block [128, 1, 1] pdl true reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>)
    plan.launch @first(%a, %out) grid %g1 block [128, 1, 1] pdl true reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>)
  }
}
