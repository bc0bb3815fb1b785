// RUN: stepwell-opt %s | stepwell-opt | filecheck %s

// Causal attention in one kernel: while the product of one block of keys with the queries is in flight, the block before it goes through softmax and
// meets its values. Keys go from the diagonal to the first, so that the block before is 64 further on; before the first one it adds nothing.
// CHECK: tile.kernel @attention
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @attention(%q: !tile.ref<2xf16, plain>, %k: !tile.ref<2xf16, plain>, %v: !tile.ref<2xf16, plain>) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [128, 64], k = 64, stages = 2, warps = 12, copy = tma, mma = wgmma, swizzle = 128> {
    %qs = tile.ring slots 1 (128x64xf16 #tile.shared<128>)
    %ks = tile.ring slots 2 (64x64xf16 #tile.shared<128>)
    %vs = tile.ring slots 2 (64x64xf16 #tile.shared<128>)
    tile.role "load" warpgroups 1 registers 40 {
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [128, 64] {
        %first = arith.constant 0 : index
        %ahead = arith.constant 64 : index
        tile.fetch %q[%i, %first] to %qs#0 via tma
        // CHECK: tile.for (%t) of %k dims [0] step [64] range [0, %i + 128) reverse {
        tile.for (%t) of %k dims [0] step [64] range [0, %i + 128) reverse {
          %before = arith.addi %t, %ahead : index
          tile.fetch %k[%t, %first] to %ks#0 via tma
          tile.fetch %v[%before, %first] to %vs#0 via tma
        }
        tile.fetch %v[%first, %first] to %vs#0 via tma
      }
    }
    tile.role "multiply" warpgroups 2 registers 232 {
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [128, 64] {
        %first = arith.constant 0 : index
        %ahead = arith.constant 64 : index
        %zero = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs, #tile.wgmma>
        %none = tile.fill 0xFF800000 : f32 -> !tile.tile<128x64xf32, regs, #tile.wgmma>
        %least = tile.fill -1.0e30 : f32 -> !tile.tile<128xf32, regs, #tile.slice<1, #tile.wgmma>>
        %nothing = tile.fill 0.0 : f32 -> !tile.tile<128xf32, regs, #tile.slice<1, #tile.wgmma>>
        %queries = tile.await %qs
        %o, %m, %l, %s = tile.for (%t) of %k dims [0] step [64] range [0, %i + 128) reverse iter (%oc = %zero, %mc = %least, %lc = %nothing, %sc = %none) -> !tile.tile<128x64xf32, regs, #tile.wgmma>, !tile.tile<128xf32, regs, #tile.slice<1, #tile.wgmma>>, !tile.tile<128xf32, regs, #tile.slice<1, #tile.wgmma>>, !tile.tile<128x64xf32, regs, #tile.wgmma> {
          %keys = tile.await %ks
          // CHECK: %sp = tile.mma %queries, %keys, %zero async
          %sp = tile.mma %queries, %keys, %zero async
          %before = arith.addi %t, %ahead : index
          %rows0 = tile.iota 0 at %i : !tile.tile<128x64xi32, regs, #tile.wgmma>
          %cols0 = tile.iota 1 at %before : !tile.tile<128x64xi32, regs, #tile.wgmma>
          %u0 = tile.map (%1 = %sc, %2 = %rows0, %3 = %cols0) {
            %scale = arith.constant 0.1803368801 : f32
            %low = arith.constant 0xFF800000 : f32
            %4 = arith.mulf %1, %scale : f32
            %5 = arith.cmpi sge, %2, %3 : i32
            %6 = arith.select %5, %4, %low : f32
            tile.yield %6
          } : !tile.tile<128x64xf32, regs, #tile.wgmma>
          %m0 = tile.reduce max %u0 dims [1] init %mc
          %mb0 = tile.broadcast %m0 dims [0] : !tile.tile<128x64xf32, regs, #tile.wgmma>
          %p0 = tile.map (%1 = %u0, %2 = %mb0) {
            %3 = arith.subf %1, %2 : f32
            %4 = math.exp2 %3 : f32
            tile.yield %4
          } : !tile.tile<128x64xf32, regs, #tile.wgmma>
          %f0 = tile.map (%1 = %mc, %2 = %m0) {
            %3 = arith.subf %1, %2 : f32
            %4 = math.exp2 %3 : f32
            tile.yield %4
          } : !tile.tile<128xf32, regs, #tile.slice<1, #tile.wgmma>>
          %lf0 = tile.map (%1 = %lc, %2 = %f0) {
            %3 = arith.mulf %1, %2 : f32
            tile.yield %3
          } : !tile.tile<128xf32, regs, #tile.slice<1, #tile.wgmma>>
          %l0 = tile.reduce add %p0 dims [1] init %lf0 partial
          %fb0 = tile.broadcast %f0 dims [0] : !tile.tile<128x64xf32, regs, #tile.wgmma>
          %of0 = tile.map (%1 = %oc, %2 = %fb0) {
            %3 = arith.mulf %1, %2 : f32
            tile.yield %3
          } : !tile.tile<128x64xf32, regs, #tile.wgmma>
          %h0 = tile.map (%1 = %p0) {
            %2 = arith.truncf %1 : f32 to f16
            tile.yield %2
          } : !tile.tile<128x64xf16, regs, #tile.wgmma>
          %pa0 = tile.relayout %h0 -> #tile.wgmma_a
          // CHECK: tile.iota 1 at %{{.*}} : !tile.tile<128x64xi32, regs, #tile.wgmma>
          // CHECK: tile.reduce max %u0 dims [1] init %mc
          // CHECK: %l0 = tile.reduce add %p0 dims [1] init %lf0 partial
          // CHECK: %pa0 = tile.relayout %h0 -> #tile.wgmma_a
          %values = tile.await %vs
          // CHECK: %op = tile.mma %pa0, %values, %of0 transpose_b async
          %op = tile.mma %pa0, %values, %of0 transpose_b async
          %s1 = tile.finish %sp
          %o1 = tile.finish %op
          tile.release %ks
          tile.release %vs
          tile.yield %o1, %m0, %l0, %s1
        }
        tile.release %qs
        %rows9 = tile.iota 0 at %i : !tile.tile<128x64xi32, regs, #tile.wgmma>
        %cols9 = tile.iota 1 at %first : !tile.tile<128x64xi32, regs, #tile.wgmma>
        %u9 = tile.map (%1 = %s, %2 = %rows9, %3 = %cols9) {
          %scale = arith.constant 0.1803368801 : f32
          %low = arith.constant 0xFF800000 : f32
          %4 = arith.mulf %1, %scale : f32
          %5 = arith.cmpi sge, %2, %3 : i32
          %6 = arith.select %5, %4, %low : f32
          tile.yield %6
        } : !tile.tile<128x64xf32, regs, #tile.wgmma>
        %m9 = tile.reduce max %u9 dims [1] init %m
        %mb9 = tile.broadcast %m9 dims [0] : !tile.tile<128x64xf32, regs, #tile.wgmma>
        %p9 = tile.map (%1 = %u9, %2 = %mb9) {
          %3 = arith.subf %1, %2 : f32
          %4 = math.exp2 %3 : f32
          tile.yield %4
        } : !tile.tile<128x64xf32, regs, #tile.wgmma>
        %f9 = tile.map (%1 = %m, %2 = %m9) {
          %3 = arith.subf %1, %2 : f32
          %4 = math.exp2 %3 : f32
          tile.yield %4
        } : !tile.tile<128xf32, regs, #tile.slice<1, #tile.wgmma>>
        %lf9 = tile.map (%1 = %l, %2 = %f9) {
          %3 = arith.mulf %1, %2 : f32
          tile.yield %3
        } : !tile.tile<128xf32, regs, #tile.slice<1, #tile.wgmma>>
        %l9 = tile.reduce add %p9 dims [1] init %lf9 partial
        %fb9 = tile.broadcast %f9 dims [0] : !tile.tile<128x64xf32, regs, #tile.wgmma>
        %of9 = tile.map (%1 = %o, %2 = %fb9) {
          %3 = arith.mulf %1, %2 : f32
          tile.yield %3
        } : !tile.tile<128x64xf32, regs, #tile.wgmma>
        %h9 = tile.map (%1 = %p9) {
          %2 = arith.truncf %1 : f32 to f16
          tile.yield %2
        } : !tile.tile<128x64xf16, regs, #tile.wgmma>
        %pa9 = tile.relayout %h9 -> #tile.wgmma_a
        %values = tile.await %vs
        %op = tile.mma %pa9, %values, %of9 transpose_b async
        %sum = tile.finish %op
        tile.release %vs
        // CHECK: %whole = tile.reduce add %l9 dims []
        %whole = tile.reduce add %l9 dims []
        %wb = tile.broadcast %whole dims [0] : !tile.tile<128x64xf32, regs, #tile.wgmma>
        %out = tile.map (%1 = %sum, %2 = %wb) {
          %3 = arith.divf %1, %2 : f32
          %4 = arith.truncf %3 : f32 to f16
          tile.yield %4
        } : !tile.tile<128x64xf16, regs, #tile.wgmma>
        tile.store %out, %y[%i, %j]
      }
    }
  }
}
