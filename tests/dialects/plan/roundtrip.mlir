// RUN: stepwell-opt %s | stepwell-opt | filecheck %s
// RUN: stepwell-opt %s --print-op-generic | stepwell-opt | filecheck %s

builtin.module attributes {stepwell.level = "kernel", stepwell.target = "sm_90a"} {
  func.func private @k() -> ()
  // CHECK: plan.program @main arena 65536 constants 18688 {
  plan.program @main arena 65536 constants 18688 {
    // CHECK-NEXT: %x = plan.binding "image" input : !plan.buffer<2x8x8x32xf16>
    %x = plan.binding "image" input : !plan.buffer<2x8x8x32xf16>
    // CHECK-NEXT: %y = plan.binding "a name" output : !plan.buffer<128x32xf32>
    %y = plan.binding "a name" output : !plan.buffer<128x32xf32>
    // CHECK-NEXT: %z = plan.binding "copied" output : !plan.buffer<64x64xf32>
    %z = plan.binding "copied" output : !plan.buffer<64x64xf32>
    // CHECK-NEXT: %w = plan.constant #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<32x9x32xf32>, [#graph.step<"cast", ["f16"]>]> at 0 : !plan.buffer<32x9x32xf16>
    %w = plan.constant #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<32x9x32xf32>, [#graph.step<"cast", ["f16"]>]> at 0 : !plan.buffer<32x9x32xf16>
    // CHECK-NEXT: %b = plan.constant dense<1.000000e+00> : tensor<32xf32> at 18432 : !plan.buffer<32xf32>
    %b = plan.constant dense<1.000000e+00> : tensor<32xf32> at 18432 : !plan.buffer<32xf32>
    // CHECK-NEXT: %a = plan.slice at 0 live [0, 1] : !plan.buffer<64x64xf32>
    %a = plan.slice at 0 live [0, 1] : !plan.buffer<64x64xf32>
    // CHECK-NEXT: %part = plan.view %a offset 8 : !plan.buffer<64x64xf32> -> !plan.buffer<32x56xf32, strides = [64, 1]>
    %part = plan.view %a offset 8 : !plan.buffer<64x64xf32> -> !plan.buffer<32x56xf32, strides = [64, 1]>
    // CHECK-NEXT: %win = plan.window %x kernel [3, 3] strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] fill 0.000000e+00 : f16 : !plan.buffer<2x8x8x32xf16> -> !plan.window<128x9x32xf16>
    %win = plan.window %x kernel [3, 3] strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] fill 0.000000e+00 : f16 : !plan.buffer<2x8x8x32xf16> -> !plan.window<128x9x32xf16>
    // CHECK-NEXT: %im = plan.tensor_map im2col %x box [64, 32] lower [-1, -1] upper [-1, -1] strides [1, 2, 2, 1] swizzle 64 : !plan.buffer<2x8x8x32xf16>
    %im = plan.tensor_map im2col %x box [64, 32] lower [-1, -1] upper [-1, -1] strides [1, 2, 2, 1] swizzle 64 : !plan.buffer<2x8x8x32xf16>
    // CHECK-NEXT: %tm = plan.tensor_map tiled %part box [16, 32] swizzle 128 l2 256 as "tf32" : !plan.buffer<32x56xf32, strides = [64, 1]>
    %tm = plan.tensor_map tiled %part box [16, 32] swizzle 128 l2 256 as "tf32" : !plan.buffer<32x56xf32, strides = [64, 1]>
    // CHECK-NEXT: %table = plan.pointer_table %win rows 6 : !plan.window<128x9x32xf16>
    %table = plan.pointer_table %win rows 6 : !plan.window<128x9x32xf16>
    // CHECK-NEXT: %n = arith.constant 128 : i32
    %n = arith.constant 128 : i32
    // CHECK-NEXT: %g64 = plan.extent %y[0] : !plan.buffer<128x32xf32> -> i32
    %g64 = plan.extent %y[0] : !plan.buffer<128x32xf32> -> i32
    // CHECK-NEXT: %ld = plan.stride %part[0] : !plan.buffer<32x56xf32, strides = [64, 1]> -> i32
    %ld = plan.stride %part[0] : !plan.buffer<32x56xf32, strides = [64, 1]> -> i32
    // CHECK-NEXT: %ow = plan.geometry %win output[1] : !plan.window<128x9x32xf16> -> i32
    %ow = plan.geometry %win output[1] : !plan.window<128x9x32xf16> -> i32
    // CHECK-NEXT: %pad = plan.geometry %win pads[3] : !plan.window<128x9x32xf16> -> i64
    %pad = plan.geometry %win pads[3] : !plan.window<128x9x32xf16> -> i64
    // CHECK-NEXT: %across = plan.ceil_div %g64, 48 : i32
    %across = plan.ceil_div %g64, 48 : i32
    // CHECK-NEXT: %down = plan.ceil_div %g64, %ow : i32
    %down = plan.ceil_div %g64, %ow : i32
    // CHECK-NEXT: %whole = plan.floor_div %g64, %across : i32
    %whole = plan.floor_div %g64, %across : i32
    // CHECK-NEXT: %tiles = plan.multiply %across, %down : i32
    %tiles = plan.multiply %across, %down : i32
    // CHECK-NEXT: %most = plan.minimum %tiles, 132 : i32
    %most = plan.minimum %tiles, 132 : i32
    // CHECK-NEXT: %least = plan.maximum %most, %n : i32
    %least = plan.maximum %most, %n : i32
    // CHECK-NEXT: %mul = plan.magic_multiplier %across
    %mul = plan.magic_multiplier %across
    // CHECK-NEXT: %shift = plan.magic_shift %across
    %shift = plan.magic_shift %across
    // CHECK-NEXT: %t22 = plan.maximum %pad, 22 : i64
    %t22 = plan.maximum %pad, 22 : i64
    // CHECK-NEXT: plan.launch @k(%win, %w) outs(%a) : (!plan.window<128x9x32xf16>, !plan.buffer<32x9x32xf16>) outs(!plan.buffer<64x64xf32>)
    plan.launch @k(%win, %w) outs(%a) : (!plan.window<128x9x32xf16>, !plan.buffer<32x9x32xf16>) outs(!plan.buffer<64x64xf32>)
    // CHECK-NEXT: plan.launch @k(%tm, %b, %y, %n) grid %g64 block [384, 1, 1] shared 98560 pdl true reads [0, 1] writes [2] : (!plan.tensor_map, !plan.buffer<32xf32>, !plan.buffer<128x32xf32>, i32)
    plan.launch @k(%tm, %b, %y, %n) grid %g64 block [384, 1, 1] shared 98560 pdl true reads [0, 1] writes [2] : (!plan.tensor_map, !plan.buffer<32xf32>, !plan.buffer<128x32xf32>, i32)
    // CHECK-NEXT: plan.launch @k(%table, %im, %z) tiles %t22 grain 3 reads [0, 1] writes [2] : (!plan.table, !plan.tensor_map, !plan.buffer<64x64xf32>)
    plan.launch @k(%table, %im, %z) tiles %t22 grain 3 reads [0, 1] writes [2] : (!plan.table, !plan.tensor_map, !plan.buffer<64x64xf32>)
  // CHECK-NEXT: }
  }
}
