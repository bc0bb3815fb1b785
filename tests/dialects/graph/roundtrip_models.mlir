// RUN: stepwell-opt %s | stepwell-opt | filecheck %s
// RUN: stepwell-opt %s --print-op-generic | stepwell-opt | filecheck %s
// Sequence models, interpolation, counted extents, control flow, plugins, as they are printed (test_round_trip_ops.py compares every line).
// CHECK: graph.conv_transpose

builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<1x4x6x6xf32>, %f: tensor<4x3x2x2xf32>, %grid: tensor<1x3x5x2xf32>, %boxes: tensor<2x4xf32>, %batch: tensor<2xi64>, %g1: tensor<3x2x4xf32>, %r1: tensor<4x4xf32>, %b1: tensor<4xf32>, %h: tensor<2x4xf32>, %g3: tensor<3x2x12xf32>, %r3: tensor<12x4xf32>, %b3: tensor<12xf32>, %g4: tensor<3x2x16xf32>, %r4: tensor<16x4xf32>, %b4: tensor<16xf32>, %lens: tensor<2xi64>, %r4p: tensor<16x3xf32>, %hp: tensor<2x3xf32>, %proj: tensor<3x4xf32>, %w: tensor<4x!graph.string>, %q: tensor<2x4x3x8xf16>, %k: tensor<2x2x5x8xf16>, %v: tensor<2x2x5x6xf16>, %bias: tensor<1x1x3x5xf16>, %mask: tensor<2x4x3x5xi1>, %kq: tensor<2x4x3x8xf32>, %vq: tensor<2x4x3x6xf32>, %st: tensor<2x4x8x6xf32>, %dec: tensor<2x4x3x1xf32>, %beta: tensor<2x4x3x1xf32>, %t: tensor<9x4xf32>, %n: tensor<i64>, %s: tensor<f32>, %m: tensor<9xi1>, %rows: tensor<?x4xf32, #graph.extents<["rows" * 1 in [0, 9] counted]>>, %u: tensor<9xi64>, %nb: tensor<1x20x4xf32>, %ns: tensor<1x2x20xf32>, %c: tensor<i1>) {
    %0 = graph.conv_transpose %x, %f strides [2, 2] pads [0, 0, 1, 1] dilations [1, 1] groups 2 extents [12, 11] channels_first : (tensor<1x4x6x6xf32>, tensor<4x3x2x2xf32>) -> tensor<1x6x12x11xf32>
    %1 = graph.resize linear %x extents [12, 9] scales [2.000000e+00, 1.500000e+00] half_pixel round_prefer_floor cubic -7.500000e-01 channels_first : tensor<1x4x6x6xf32> -> tensor<1x4x12x9xf32>
    %2 = graph.resize cubic %x extents [3, 3] scales [5.000000e-01, 5.000000e-01] align_corners round_prefer_floor cubic -7.500000e-01 exclude_outside antialias channels_first : tensor<1x4x6x6xf32> -> tensor<1x4x3x3xf32>
    %3 = graph.sample cubic reflect %x, %grid align_corners : (tensor<1x4x6x6xf32>, tensor<1x3x5x2xf32>) -> tensor<1x4x3x5xf32>
    %4 = graph.roi_pool align_average %x, %boxes, %batch extents [2, 2] scale 5.000000e-01 samples 2 offset 5.000000e-01 : (tensor<1x4x6x6xf32>, tensor<2x4xf32>, tensor<2xi64>) -> tensor<2x4x2x2xf32>
    %5, %6 = graph.rnn %g1, %r1, %b1, %h activations [#graph<activation tanh>] alphas [0.000000e+00] betas [0.000000e+00] clip 0.000000e+00 : (tensor<3x2x4xf32>, tensor<4x4xf32>, tensor<4xf32>, tensor<2x4xf32>) -> (tensor<3x2x4xf32>, tensor<2x4xf32>)
    %7, %8 = graph.rnn %g1, %r1, %b1, %h lengths %lens activations [#graph<activation affine>] alphas [5.000000e-01] betas [1.000000e+00] clip 3.000000e+00 reverse : (tensor<3x2x4xf32>, tensor<4x4xf32>, tensor<4xf32>, tensor<2x4xf32>, tensor<2xi64>) -> (tensor<3x2x4xf32>, tensor<2x4xf32>)
    %9, %10 = graph.gru %g3, %r3, %b3, %h lengths %lens activations [#graph<activation sigmoid>, #graph<activation tanh>] alphas [0.000000e+00, 0.000000e+00] betas [0.000000e+00, 0.000000e+00] clip 0.000000e+00 linear_before_reset : (tensor<3x2x12xf32>, tensor<12x4xf32>, tensor<12xf32>, tensor<2x4xf32>, tensor<2xi64>) -> (tensor<3x2x4xf32>, tensor<2x4xf32>)
    %11, %12, %13 = graph.lstm %g4, %r4, %b4, %h, %h activations [#graph<activation sigmoid>, #graph<activation tanh>, #graph<activation tanh>] alphas [0.000000e+00, 0.000000e+00, 0.000000e+00] betas [0.000000e+00, 0.000000e+00, 0.000000e+00] clip 0.000000e+00 : tensor<3x2x16xf32>, tensor<16x4xf32>, tensor<16xf32>, tensor<2x4xf32>, tensor<2x4xf32> -> tensor<3x2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>
    %14, %15, %16 = graph.lstm %g4, %r4p, %b4, %hp, %h lengths %lens : tensor<2xi64> peepholes %b3 : tensor<12xf32> projection %proj : tensor<3x4xf32> activations [#graph<activation sigmoid>, #graph<activation tanh>, #graph<activation tanh>] alphas [0.000000e+00, 0.000000e+00, 0.000000e+00] betas [0.000000e+00, 0.000000e+00, 0.000000e+00] clip 0.000000e+00 reverse input_forget : tensor<3x2x16xf32>, tensor<16x3xf32>, tensor<16xf32>, tensor<2x3xf32>, tensor<2x4xf32> -> tensor<3x2x3xf32>, tensor<2x3xf32>, tensor<2x4xf32>
    %17 = graph.attention %q, %k, %v scale 2.500000e-01 softcap 0.000000e+00 offset 0 window 0 ahead -1 : tensor<2x4x3x8xf16>, tensor<2x2x5x8xf16>, tensor<2x2x5x6xf16> -> tensor<2x4x3x6xf16>
    %18 = graph.attention %q, %k, %v bias %bias : tensor<1x1x3x5xf16> lengths %lens : tensor<2xi64> scale 2.500000e-01 softcap 5.000000e+00 causal offset 2 window 3 ahead -1 : tensor<2x4x3x8xf16>, tensor<2x2x5x8xf16>, tensor<2x2x5x6xf16> -> tensor<2x4x3x6xf16>
    %19 = graph.attention %q, %k, %v bias %mask : tensor<2x4x3x5xi1> scale 1.000000e+00 softcap 0.000000e+00 offset 0 window 0 ahead -1 : tensor<2x4x3x8xf16>, tensor<2x2x5x8xf16>, tensor<2x2x5x6xf16> -> tensor<2x4x3x6xf16>
    %20, %21 = graph.linear_attention linear %kq, %kq, %vq, %st scale 5.000000e-01 : tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>, tensor<2x4x3x6xf32>, tensor<2x4x8x6xf32> -> tensor<2x4x3x6xf32>, tensor<2x4x8x6xf32>
    %22, %23 = graph.linear_attention gated_delta %kq, %kq, %vq, %st decay %dec : tensor<2x4x3x1xf32> beta %beta : tensor<2x4x3x1xf32> scale 5.000000e-01 : tensor<2x4x3x8xf32>, tensor<2x4x3x8xf32>, tensor<2x4x3x6xf32>, tensor<2x4x8x6xf32> -> tensor<2x4x3x6xf32>, tensor<2x4x8x6xf32>
    %24 = graph.extent %rows dim 0 : tensor<?x4xf32, #graph.extents<["rows" * 1 in [0, 9] counted]>> -> tensor<i64>
    %25 = graph.prefix %t, %n dim 0 as "n" : (tensor<9x4xf32>, tensor<i64>) -> tensor<?x4xf32, #graph.extents<["n" * 1 in [0, 9] counted]>>
    %26 = graph.fill_tail %rows, %s dim 0 : (tensor<?x4xf32, #graph.extents<["rows" * 1 in [0, 9] counted]>>, tensor<f32>) -> tensor<9x4xf32>
    %27 = graph.compact %t, %m dim 0 as "kept" : (tensor<9x4xf32>, tensor<9xi1>) -> tensor<?x4xf32, #graph.extents<["kept" * 1 in [0, 9] counted]>>
    %28, %29, %30, %31 = graph.unique %u sorted as "a" : (tensor<9xi64>) -> (tensor<?xi64, #graph.extents<["a" * 1 in [0, 9] counted]>>, tensor<?xi64, #graph.extents<["a" * 1 in [0, 9] counted]>>, tensor<9xi64>, tensor<?xi64, #graph.extents<["a" * 1 in [0, 9] counted]>>)
    %32, %33, %34, %35 = graph.unique %t dim 0 as "b" : (tensor<9x4xf32>) -> (tensor<?x4xf32, #graph.extents<["b" * 1 in [0, 9] counted]>>, tensor<?xi64, #graph.extents<["b" * 1 in [0, 9] counted]>>, tensor<9xi64>, tensor<?xi64, #graph.extents<["b" * 1 in [0, 9] counted]>>)
    %36 = graph.non_max_suppression %nb, %ns most 10 iou 5.000000e-01 score 1.000000e-01 center as "boxes" : (tensor<1x20x4xf32>, tensor<1x2x20xf32>) -> tensor<?x3xi64, #graph.extents<["boxes" * 1 in [0, 20] counted]>>
    %37 = graph.non_max_suppression %nb, %ns most 10 iou 0.000000e+00 as "more" : (tensor<1x20x4xf32>, tensor<1x2x20xf32>) -> tensor<?x3xi64, #graph.extents<["more" * 1 in [0, 20] counted]>>
    %38 = graph.custom "mish" version "1" from "examples"(%t) {beta = 1.000000e+00 : f64} : (tensor<9x4xf32>) -> tensor<9x4xf32>
    %39 = graph.collective all_reduce %t combine sum dim 0 group [0, 1] : tensor<9x4xf32> -> tensor<9x4xf32>
    %40 = graph.collective all_gather %t dim 0 group [0, 1] : tensor<9x4xf32> -> tensor<18x4xf32>
    %41 = graph.if %c -> (tensor<9x4xf32>) {
      %42 = graph.unary relu %t : tensor<9x4xf32> -> tensor<9x4xf32>
      graph.yield %42 : tensor<9x4xf32>
    } else {
      %43 = graph.unary neg %t : tensor<9x4xf32> -> tensor<9x4xf32>
      graph.yield %43 : tensor<9x4xf32>
    }
    %44, %45 = graph.loop (%46, %47 = %t : tensor<9x4xf32>) bound 8 -> (tensor<9x4xf32>, tensor<8x4xf32>) {
      %48 = graph.binary add %47, %t : (tensor<9x4xf32>, tensor<9x4xf32>) -> tensor<9x4xf32>
      %49 = graph.reduce sum %48 dims [0] : tensor<9x4xf32> -> tensor<4xf32>
      graph.yield %48, %49 : tensor<9x4xf32>, tensor<4xf32>
    }
    %50, %51 = graph.loop (%52, %53 = %t : tensor<9x4xf32>) trip %n while %c bound 8 as "steps" -> (tensor<9x4xf32>, tensor<?xf32, #graph.extents<["steps" * 1 in [0, 8] counted]>>) {
      %54 = graph.binary add %53, %t : (tensor<9x4xf32>, tensor<9x4xf32>) -> tensor<9x4xf32>
      %55 = graph.reduce sum %54 dims [0, 1] : tensor<9x4xf32> -> tensor<f32>
      %56 = graph.compare lt %55, %s : (tensor<f32>, tensor<f32>) -> tensor<i1>
      graph.yield %56, %54, %55 : tensor<i1>, tensor<9x4xf32>, tensor<f32>
    }
    %57 = graph.loop (%58, %59 = %t : tensor<9x4xf32>) trip %n -> (tensor<9x4xf32>) {
      %60 = graph.binary add %59, %t : (tensor<9x4xf32>, tensor<9x4xf32>) -> tensor<9x4xf32>
      graph.yield %60 : tensor<9x4xf32>
    }
    %61 = graph.normalize_text %w without ["monday", ""] to "upper" any_case as "words" : tensor<4x!graph.string> -> tensor<?x!graph.string, #graph.extents<["words" * 1 in [0, 4] counted]>>
    %62 = graph.normalize_text %w without [] as "all" : tensor<4x!graph.string> -> tensor<?x!graph.string, #graph.extents<["all" * 1 in [0, 4] counted]>>
    func.return
  }
}
