// RUN: stepwell-opt %s -p 'stepwell-convert-tile-to-plan'
// ValueError: ('Invalid OpResult name format `é`.', "Make sure names contain only characters of [A-Za-z0-9_$.-] and don't start with a number.")
builtin.module attributes {stepwell.level = "tile", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  tile.kernel @f(%e0: !tile.ref<2xf32, plain> loc(unknown)) -> (%y: !tile.ref<2xf32, plain> loc(unknown)) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor loc("\C3\BC")
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %e0_1 = tile.load %e0[%i, %j] : !tile.tile<4x16xf32, regs> loc("\C3\BC")
      %o = tile.map (%0 = %e0_1) {
        %1 = arith.constant 0.000000e+00 : f32 loc("\C3\BC")
        %2 = arith.maximumf %0, %1 : f32 loc("\C3\BC")
        tile.yield %2 loc("\C3\BC")
      } : !tile.tile<4x16xf32, regs> loc("\C3\BC")
      tile.store %o, %y[%i, %j] loc("\C3\BC")
    } loc("\C3\BC")
  } loc("\C3\BC")
  func.func @main(%_: tensor<4x4xf32> {stepwell.name = "\C3\A9"} loc("\C3\A9")) -> (tensor<4x4xf32> {stepwell.name = "\C3\BC"}) {
    %__1 = tile.apply @f(%_) : (tensor<4x4xf32>) -> tensor<4x4xf32> loc("\C3\BC")
    func.return %__1 : tensor<4x4xf32> loc("\C3\BC")
  } loc("g")
} loc("g")
