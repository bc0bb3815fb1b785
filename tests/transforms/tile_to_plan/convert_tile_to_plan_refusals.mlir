// RUN: not stepwell-opt %s -p stepwell-convert-tile-to-plan 2>&1 | filecheck %s
// CHECK: error: double: arith.addf has no place in a plan: at the tile level every computation is a tile.apply
// CHECK-NEXT: hint: run the passes of the linalg and tile stages first (stepwell-opt --to tile)

builtin.module attributes {stepwell.level = "tile", stepwell.target = "cpu"} {
  func.func @main(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
    %y = arith.addf %x, %x : tensor<2x3xf32> loc("double")
    func.return %y : tensor<2x3xf32>
  }
}
