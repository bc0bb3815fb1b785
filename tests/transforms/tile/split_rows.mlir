// RUN: stepwell-opt %s -p tile-split-rows | filecheck %s
// RUN: stepwell-opt %s -p 'tile-split-rows,tile-split-rows' | filecheck %s
// RUN: stepwell-opt %s -p 'tile-split-rows{unrolled=5}' | filecheck %s --check-prefix=LOOP
// RUN: stepwell-opt %s -p tile-split-rows --remarks-filter '.*' 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: remark: [passed] tile-split-rows: {{.*}}@product: 6 rows straight from registers: 12 vector ops after the product, 100 at most
// REMARK-DAG: remark: [passed] tile-split-rows: {{.*}}@pool: a loop over 4 rows: there is no product
// LOOP:       tile.for_rows (%{{.*}}) of %i rows 6 take (%{{.*}} = %acc) {
// CHECK:      tile.kernel @product
// CHECK:        %acc = tile.for
// CHECK:        }
// CHECK-NEXT:   %bias = tile.load %v[%j] : !tile.tile<64xf32, regs>
// CHECK-NEXT:   tile.for_rows (%[[ROW:.*]]) of %i rows 6 unrolled take (%[[ACC:.*]] = %acc) {
// CHECK-NEXT:     %bb = tile.broadcast %bias dims [1] : !tile.tile<1x64xf32, regs>
// CHECK-NEXT:     %o = tile.map (%p = %[[ACC]], %q = %bb) {
// CHECK:          } : !tile.tile<1x64xf32, regs>
// CHECK-NEXT:     tile.store %o, %y[%[[ROW]], %j]
// CHECK-NEXT:   }
// CHECK:      tile.kernel @pool
// CHECK:        tile.for_tiles
// CHECK-NEXT:     tile.for_rows (%[[ROW:.*]]) of %i rows 4 {
// CHECK-NEXT:       %z = tile.fill -1.000000e+00 : f32 -> !tile.tile<1x16xf32, regs>
// CHECK-NEXT:       %m = tile.for (%t) of %x dims [1] step [1] iter (%c = %z) -> !tile.tile<1x16xf32, regs> {
// CHECK-NEXT:         %a = tile.load %x[%[[ROW]], %t, %j] dims = [0, 2] fill = -1.000000e+00 : f32 : !tile.tile<1x16xf32, regs>
// CHECK:      tile.kernel @line
// CHECK-NOT:    tile.for_rows
builtin.module attributes {stepwell.level = "plan", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  tile.kernel @product(%x: !tile.ref<3xf32, plain>, %w: !tile.ref<3xf32, packed<64>, constant>, %v: !tile.ref<1xf32, plain, constant>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [6, 64], mma = fma> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [6, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<6x64xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 1] iter (%c = %z) -> !tile.tile<6x64xf32, regs> {
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<6x1xf32, in_place>
        %b = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x1xf32, packed>
        %d = tile.mma %a, %b, %c
        tile.yield %d
      }
      %bias = tile.load %v[%j] : !tile.tile<64xf32, regs>
      %bb = tile.broadcast %bias dims [1] : !tile.tile<6x64xf32, regs>
      %o = tile.map (%p = %acc, %q = %bb) {
        %s = arith.addf %p, %q : f32
        tile.yield %s
      } : !tile.tile<6x64xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  tile.kernel @pool(%x: !tile.ref<3xf32, window>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %z = tile.fill -1.0 : f32 -> !tile.tile<4x16xf32, regs>
      %m = tile.for (%t) of %x dims [1] step [1] iter (%c = %z) -> !tile.tile<4x16xf32, regs> {
        %a = tile.load %x[%i, %t, %j] dims = [0, 2] fill = -1.0 : f32 : !tile.tile<4x16xf32, regs>
        %n = tile.map (%p = %a, %q = %c) {
          %s = arith.maximumf %p, %q : f32
          tile.yield %s
        } : !tile.tile<4x16xf32, regs>
        tile.yield %n
      }
      tile.store %m, %y[%i, %j]
    }
  }
  tile.kernel @line(%x: !tile.ref<1xf32, plain>) -> (%y: !tile.ref<1xf32, plain>) config #tile.config<block = [16]> {
    tile.wait_predecessor
    tile.for_tiles (%j) of %y block [16] {
      %a = tile.load %x[%j] : !tile.tile<16xf32, regs>
      tile.store %a, %y[%j]
    }
  }
}
