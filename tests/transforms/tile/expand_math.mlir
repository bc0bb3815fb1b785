// RUN: stepwell-opt %s -p 'tile-expand-math' --remarks-filter '.*' 2>&1 | filecheck %s

// CHECK-DAG: remark: [passed] tile-expand-math: gelu: math.erf expanded
// CHECK-DAG: remark: [missed] tile-expand-math: wide: math.erf of f64 has no expansion (hint: compute it in f32)
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
  // CHECK: tile.kernel @f64
  tile.kernel @f64(%x: !tile.ref<2xf64, plain>) -> (%y: !tile.ref<2xf64, plain>) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %a = tile.load %x[%i, %j] : !tile.tile<4x16xf64, regs>
      %o = tile.map (%p = %a) {
        // CHECK: math.erf
        %r = math.erf %p : f64 loc("wide")
        tile.yield %r
      } : !tile.tile<4x16xf64, regs>
      tile.store %o, %y[%i, %j]
    }
  }
}
