// RUN: stepwell-opt %s | stepwell-opt | filecheck %s

// Softmax of rows that fit into registers: two folds along the row, two repetitions.
// CHECK: tile.kernel @softmax
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @softmax(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [4, 256], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 256] {
      %row = tile.load %x[%i, %j] fill = 0xFF800000 : f32 : !tile.tile<4x256xf32, regs>
      // CHECK: %m = tile.reduce max %row dims [1]
      %m = tile.reduce max %row dims [1]
      %mb = tile.broadcast %m dims [0] : !tile.tile<4x256xf32, regs>
      %p = tile.map (%1 = %row, %2 = %mb) {
        %3 = arith.subf %1, %2 : f32
        %4 = math.exp2 %3 : f32
        tile.yield %4
      } : !tile.tile<4x256xf32, regs>
      // CHECK: %s = tile.reduce add %p dims [1]
      %s = tile.reduce add %p dims [1]
      %sb = tile.broadcast %s dims [0] : !tile.tile<4x256xf32, regs>
      %o = tile.map (%1 = %p, %2 = %sb) {
        %3 = arith.divf %1, %2 : f32
        tile.yield %3
      } : !tile.tile<4x256xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
}
