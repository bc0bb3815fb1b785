// RUN: not stepwell-opt %s -p tile-split-rows 2>&1 | filecheck %s

// CHECK: tile-split-rows: rows are split for a CPU, and the module is not for one
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @line(%x: !tile.ref<1xf32, plain>) -> (%y: !tile.ref<1xf32, plain>) config #tile.config<block = [16]> {
    tile.wait_predecessor
    tile.for_tiles (%j) of %y block [16] {
      %a = tile.load %x[%j] : !tile.tile<16xf32, regs>
      tile.store %a, %y[%j]
    }
  }
}
