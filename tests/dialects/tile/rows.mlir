// RUN: stepwell-opt %s | stepwell-opt | filecheck %s
// RUN: stepwell-opt %s --print-op-generic | stepwell-opt | filecheck %s

// CHECK: tile.for_rows (%r) of %i rows 4 unrolled take (%one = %a) {
builtin.module {
  tile.kernel @copy(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %a = tile.load %x[%i, %j] : !tile.tile<4x16xf32, regs>
      tile.for_rows (%r) of %i rows 4 unrolled take (%one = %a) {
        tile.store %one, %y[%r, %j]
      }
    }
  }
}
