// RUN: stepwell-opt %s -p 'tile-merge-kernels' --remarks-filter '.*' 2>&1 | filecheck %s

// CHECK-DAG: remark: [passed] tile-merge-kernels: b: @first stands for @second
// CHECK-DAG: remark: [missed] tile-merge-kernels: c: @third has the form of @first but another body
// CHECK: tile.kernel @first
// CHECK-NOT: tile.kernel @second
// CHECK: tile.kernel @third
// CHECK: tile.kernel @narrow
// CHECK: tile.kernel @wide
// CHECK: tile.apply @first
// CHECK: tile.apply @first
// CHECK: tile.apply @third
builtin.module attributes {stepwell.level = "tile"} {
  tile.kernel @first(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %a = tile.load %x[%i, %j] : !tile.tile<4x16xf32, regs>
      %o = tile.map (%p = %a) {
        %c = arith.constant 2.0 : f32
        %r = arith.mulf %p, %c : f32
        tile.yield %r
      } : !tile.tile<4x16xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  } loc("a")
  tile.kernel @second(%in: !tile.ref<2xf32, plain>) -> (%out: !tile.ref<2xf32, plain>) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%k, %l) of %out block [4, 16] {
      %a = tile.load %in[%k, %l] : !tile.tile<4x16xf32, regs>
      %o = tile.map (%p = %a) {
        %c = arith.constant 2.0 : f32
        %r = arith.mulf %p, %c : f32
        tile.yield %r
      } : !tile.tile<4x16xf32, regs>
      tile.store %o, %out[%k, %l]
    }
  } loc("b")
  tile.kernel @third(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %a = tile.load %x[%i, %j] : !tile.tile<4x16xf32, regs>
      %o = tile.map (%p = %a) {
        %c = arith.constant 3.0 : f32
        %r = arith.mulf %p, %c : f32
        tile.yield %r
      } : !tile.tile<4x16xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  } loc("c")
  tile.kernel @narrow(%x: !tile.ref<1xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [1, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [1, 16] {
      %a = tile.load %x[%j] : !tile.tile<1xf32, regs>
      %b = tile.broadcast %a dims [1] : !tile.tile<1x16xf32, regs>
      tile.store %b, %y[%i, %j]
    }
  } loc("d")
  tile.kernel @wide(%x: !tile.ref<1xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [1, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [1, 16] {
      %a = tile.load %x[%j] : !tile.tile<16xf32, regs>
      %b = tile.broadcast %a dims [1] : !tile.tile<1x16xf32, regs>
      tile.store %b, %y[%i, %j]
    }
  } loc("e")
  func.func @main(%x: tensor<9x9xf32>, %y: tensor<5x40xf32>) -> (tensor<9x9xf32>, tensor<5x40xf32>, tensor<9x9xf32>) {
    %0 = tile.apply @first(%x) : (tensor<9x9xf32>) -> tensor<9x9xf32>
    %1 = tile.apply @second(%y) : (tensor<5x40xf32>) -> tensor<5x40xf32>
    %2 = tile.apply @third(%x) : (tensor<9x9xf32>) -> tensor<9x9xf32>
    func.return %0, %1, %2 : tensor<9x9xf32>, tensor<5x40xf32>, tensor<9x9xf32>
  }
}
