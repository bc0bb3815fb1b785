// RUN: stepwell-opt %s -p 'tile-split-rows,stepwell-convert-tile-to-cpu' --verify-diagnostics

// The reduction of a CPU kernel goes element by element.
builtin.module attributes {stepwell.level = "plan", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  tile.kernel @sum(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<4x16xf32, regs>
      // expected-error@+1 {{CPU loops go one by one}}
      %acc = tile.for (%k) of %x dims [0] step [2] iter (%c = %z) -> !tile.tile<4x16xf32, regs> {
        tile.yield %c
      }
      tile.store %acc, %y[%i, %j]
    }
  }
}
