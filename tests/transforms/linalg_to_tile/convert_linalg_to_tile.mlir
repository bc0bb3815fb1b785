// RUN: stepwell-opt %s -p 'linalg-choose-config{target=sm_90a},stepwell-convert-linalg-to-tile' | filecheck %s
// RUN: stepwell-opt %s -p 'linalg-choose-config{target=x86-64-v4},stepwell-convert-linalg-to-tile' | filecheck %s --check-prefix CPU

#x = affine_map<(n, h, w, k, r, s, c) -> (n, h + r, w + s, c)>
#w = affine_map<(n, h, w, k, r, s, c) -> (k, r, s, c)>
#y = affine_map<(n, h, w, k, r, s, c) -> (n, h, w, k)>
#id = affine_map<(n, h, w, k) -> (n, h, w, k)>
#k = affine_map<(n, h, w, k) -> (k)>

// CHECK:      tile.kernel @block_conv(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, packed, constant>, %e0: !tile.ref<1xf32, plain, constant>, %e1: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [64, 24], k = 16, stages = 4, warps = 8, copy = tma_im2col, mma = wgmma, swizzle = 64> {
// CHECK-NEXT:   tile.wait_predecessor
// CHECK-NEXT:   tile.for_tiles (%i, %j) of %y block [64, 24] {
// CHECK-NEXT:     %zero = tile.fill 0.000000e+00 : f32 -> !tile.tile<64x24xf32, regs>
// CHECK-NEXT:     %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 16] iter (%c = %zero) -> !tile.tile<64x24xf32, regs> {
// CHECK-NEXT:       %[[A:.*]] = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<64x16xf32, ring>
// CHECK-NEXT:       %[[B:.*]] = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<24x16xf32, ring>
// CHECK-NEXT:       %[[C:.*]] = tile.mma %[[A]], %[[B]], %c
// CHECK-NEXT:       tile.yield %[[C]]
// CHECK-NEXT:     }
// CHECK-NEXT:     %[[BIAS:.*]] = tile.load %e0[%j] : !tile.tile<24xf32, regs>
// CHECK-NEXT:     tile.broadcast %[[BIAS]] dims [1] : !tile.tile<64x24xf32, regs>
// CHECK-NEXT:     tile.load %e1[%i, %j] : !tile.tile<64x24xf32, regs>
// One map for the whole epilogue.
// CHECK-NEXT:     %o = tile.map
// CHECK-NEXT:       arith.addf
// CHECK-NEXT:       arith.addf
// CHECK-NEXT:       tile.yield
// CHECK-NEXT:     } : !tile.tile<64x24xf32, regs>
// CHECK-NEXT:     tile.store %o, %y[%i, %j]
// The pad is the window's; the residual is a view; weights are K-major with columns in eights.
// CHECK:      tile.window %x kernel [3, 3] pads [1, 1, 1, 1] : tensor<2x8x8x16xf32> -> !tile.view<128x9x16xf32>
// CHECK-NEXT: #graph.step<"reshape", [20, 9, 16]>, #graph.step<"pad", [0, 24]>]> : tensor<24x9x16xf32>
// CHECK:      graph.reshape %{{.*}} : tensor<2x8x8x20xf32> -> tensor<128x20xf32>
// CHECK-NEXT: tile.apply @block_conv
// CHECK-NEXT: graph.reshape %{{.*}} : tensor<128x20xf32> -> tensor<2x8x8x20xf32>

// CPU:      tile.kernel @block_conv(%x: !tile.ref<3xf32, window>, %w: !tile.ref<3xf32, packed<32>, constant>, {{.*}} config #tile.config<block = [12, 32], copy = pointer_table, mma = fma> {
// CPU:        tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<12x1xf32, in_place>
// CPU-NEXT:   tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<32x1xf32, packed>
// CPU:      #graph.step<"reshape", [20, 9, 16]>, #graph.step<"pad", [0, 32]>, #graph.step<"panels", [32]>]> : tensor<1x9x16x32xf32>

builtin.module attributes {stepwell.level = "linalg"} {
  func.func @main(%x: tensor<2x8x8x16xf32>, %r: tensor<2x8x8x20xf32>) -> tensor<2x8x8x20xf32> {
    %w = graph.weight #graph.weight<"w", "0000000000000000000000000000000000000000000000000000000000000000", tensor<20x3x3x16xf32>, []> : tensor<20x3x3x16xf32>
    %b = graph.weight #graph.weight<"b", "0000000000000000000000000000000000000000000000000000000000000000", tensor<20xf32>, []> : tensor<20xf32>
    %y = graph.fusion "block/conv" (%0 = %x : tensor<2x8x8x16xf32>, %1 = %w : tensor<20x3x3x16xf32>, %2 = %b : tensor<20xf32>, %3 = %r : tensor<2x8x8x20xf32>) -> (tensor<2x8x8x20xf32>) {
      %zero = arith.constant 0.0 : f32
      %p = tensor.pad %0 low[0, 1, 1, 0] high[0, 1, 1, 0] {
      ^bb0(%i: index, %j: index, %k: index, %l: index):
        tensor.yield %zero : f32
      } : tensor<2x8x8x16xf32> to tensor<2x10x10x16xf32>
      %e = tensor.empty() : tensor<2x8x8x20xf32>
      %init = linalg.fill ins(%zero : f32) outs(%e : tensor<2x8x8x20xf32>) -> tensor<2x8x8x20xf32>
      %conv = linalg.generic {indexing_maps = [#x, #w, #y], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]} ins(%p, %1 : tensor<2x10x10x16xf32>, tensor<20x3x3x16xf32>) outs(%init : tensor<2x8x8x20xf32>) {
      ^bb0(%a: f32, %f: f32, %c: f32):
        %m = arith.mulf %a, %f : f32
        %s = arith.addf %c, %m : f32
        linalg.yield %s : f32
      } -> tensor<2x8x8x20xf32>
      %sum = linalg.generic {indexing_maps = [#id, #k, #id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%conv, %2, %3 : tensor<2x8x8x20xf32>, tensor<20xf32>, tensor<2x8x8x20xf32>) outs(%e : tensor<2x8x8x20xf32>) {
      ^bb0(%a: f32, %f: f32, %g: f32, %c: f32):
        %m = arith.addf %a, %f : f32
        %s = arith.addf %m, %g : f32
        linalg.yield %s : f32
      } -> tensor<2x8x8x20xf32>
      graph.yield %sum : tensor<2x8x8x20xf32>
    }
    func.return %y : tensor<2x8x8x20xf32>
  }
}
