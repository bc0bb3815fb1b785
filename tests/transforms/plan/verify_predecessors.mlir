// RUN: stepwell-opt %s -p plan-verify-predecessors --remarks-filter plan 2>&1 | filecheck %s
// CHECK: [analysis] plan-verify-predecessors: module: 2 kernels wait for their predecessors

builtin.module attributes {stepwell.level = "kernel", stepwell.target = "sm_90a"} {
  // The weights may be read before the wait, what the kernel before wrote only after it.
  warp.kernel @first(%w: !warp.global<f32>, %x: !warp.global<f32>, %y: !warp.global<f32>) threads 128 shared 0 {
    %zero = arith.constant 0 : i32
    %many = arith.constant 64 : i32
    %u = warp.fragment_load_row %w[%zero] bounds [%many] <wgmma 64x8> access 1 : !warp.global<f32> -> vector<2xf32>
    warp.wait_predecessor
    %v = warp.fragment_load_row %x[%zero] bounds [%many] <wgmma 64x8> access 1 : !warp.global<f32> -> vector<2xf32>
    warp.return
  }
  // A network input never changes either.
  warp.kernel @second(%x: !warp.global<f32>, %y: !warp.global<f32>) threads 128 shared 0 {
    %zero = arith.constant 0 : i32
    %many = arith.constant 64 : i32
    %v = warp.fragment_load_row %x[%zero] bounds [%many] <wgmma 64x8> access 1 : !warp.global<f32> -> vector<2xf32>
    warp.wait_predecessor
    warp.return
  }
  plan.program @main arena 256 constants 256 {
    %g1 = arith.constant 1 : i32
    %image = plan.binding "image" input : !plan.buffer<64xf32>
    %out = plan.binding "out" output : !plan.buffer<64xf32>
    %w = plan.constant dense<1.0> : tensor<64xf32> at 0 : !plan.buffer<64xf32>
    %a = plan.slice at 0 live [0, 1] : !plan.buffer<64xf32>
    plan.launch @second(%image, %a) grid %g1 block [128, 1, 1] pdl true reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>)
    plan.launch @first(%w, %a, %out) grid %g1 block [128, 1, 1] pdl true reads [0, 1] writes [2] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>, !plan.buffer<64xf32>)
  }
}
