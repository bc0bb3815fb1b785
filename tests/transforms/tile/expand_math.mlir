// RUN: stepwell-opt %s -p 'tile-expand-math' --remarks-filter '.*' 2>&1 | filecheck %s

// CHECK-DAG: remark: [passed] tile-expand-math: gelu: math.erf expanded
// CHECK-DAG: remark: [passed] tile-expand-math: log: math.log expanded
// CHECK-DAG: remark: [passed] tile-expand-math: half: the conversion from f64 to f16 goes through f32
// CHECK-DAG: remark: [passed] tile-expand-math: sum: arith.addf of bf16 is computed in f32
// CHECK-DAG: remark: [missed] tile-expand-math: wide: math.erf of f8E4M3FN has no expansion (hint: compute it in f32)
builtin.module attributes {stepwell.level = "tile"} {
  // CHECK: tile.kernel @f32
  tile.kernel @f32(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %a = tile.load %x[%i, %j] : !tile.tile<4x16xf32, regs>
      %o = tile.map (%p = %a) {
        // CHECK-NOT: math.erf
        // CHECK:     arith.maximumf
        // CHECK:     arith.minimumf
        // CHECK:     math.fma
        // CHECK:     arith.divf
        %r = math.erf %p : f32 loc("gelu")
        tile.yield %r
      } : !tile.tile<4x16xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  // CHECK: tile.kernel @bf16
  tile.kernel @bf16(%x: !tile.ref<2xbf16, plain>) -> (%y: !tile.ref<2xbf16, plain>) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %a = tile.load %x[%i, %j] : !tile.tile<4x16xbf16, regs>
      // CHECK: tile.map ([[P:%[0-9a-z]+]] =
      %o = tile.map (%p = %a) {
        // CHECK:      [[L:%[0-9a-z]+]] = arith.extf [[P]] : bf16 to f32
        // CHECK-NEXT: [[R:%[0-9a-z]+]] = arith.extf [[P]] : bf16 to f32
        // CHECK-NEXT: [[S:%[0-9a-z]+]] = arith.addf [[L]], [[R]] : f32
        // CHECK-NEXT: [[T:%[0-9a-z]+]] = arith.truncf [[S]] : f32 to bf16
        // CHECK-NEXT: tile.yield [[T]]
        %r = arith.addf %p, %p : bf16 loc("sum")
        tile.yield %r
      } : !tile.tile<4x16xbf16, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  // CHECK: tile.kernel @f8E4M3FN
  tile.kernel @f8E4M3FN(%x: !tile.ref<2xf8E4M3FN, plain>) -> (%y: !tile.ref<2xf8E4M3FN, plain>) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %a = tile.load %x[%i, %j] : !tile.tile<4x16xf8E4M3FN, regs>
      %o = tile.map (%p = %a) {
        // CHECK: math.erf
        %r = math.erf %p : f8E4M3FN loc("wide")
        tile.yield %r
      } : !tile.tile<4x16xf8E4M3FN, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  // CHECK: tile.loops @loops
  // CHECK-NOT: math.log
  // CHECK: arith.truncf {{.*}} : f64 to f32
  // CHECK: arith.truncf {{.*}} : f32 to f16
  tile.loops @loops(%x: tensor<0x3xf64>) -> (tensor<0x3xf16>) config #tile.config<block = [64], form = loops> {
    %e = tensor.empty() : tensor<0x3xf16>
    %r = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<0x3xf64>) outs(%e : tensor<0x3xf16>) {
    ^bb0(%p: f64, %c: f16):
      %l = math.log %p : f64 loc("log")
      %h = arith.truncf %l : f64 to f16 loc("half")
      linalg.yield %h : f16
    } -> tensor<0x3xf16>
    tile.yield %r
  }
}
