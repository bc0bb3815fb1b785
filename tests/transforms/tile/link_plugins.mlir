// RUN: stepwell-opt %s --plugin %S/tile_plugins.py -p tile-link-plugins --remarks-filter plugins 2>&1 | filecheck %s

// CHECK: [passed] tile-link-plugins: act: plugin "Bent" became @bent_1
// CHECK-NEXT: [passed] tile-link-plugins: again: plugin "Bent" became @bent_2
// CHECK: stepwell.plugins = [{node = "act", plugin = "Bent"
// CHECK-DAG: tile.kernel @bent_1(%x: !tile.ref<2xf32, plain>)
// CHECK-DAG: tile.kernel @bent_2(%x: !tile.ref<2xf32, plain>)
// CHECK: graph.reshape %x : tensor<2x3x4xf32> -> tensor<6x4xf32>
// CHECK-NEXT: tile.apply @bent_1
// CHECK-NOT: graph.custom
builtin.module attributes {stepwell.level = "tile", stepwell.target = "cpu", stepwell.cpu = "x86-64-v3"} {
  tile.kernel @bent(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [2, 32]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [2, 32] {
      %a = tile.load %x[%i, %j] : !tile.tile<2x32xf32, regs>
      tile.store %a, %y[%i, %j]
    }
  }
  func.func @main(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
    %0 = graph.custom "Bent" version "1" from "tiles" (%x) {slope = 2.5e-01 : f64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32> loc("act")
    %1 = graph.custom "Bent" version "1" from "tiles" (%0) {slope = 5.0e-01 : f64} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32> loc("again")
    func.return %1 : tensor<2x3x4xf32>
  }
}
