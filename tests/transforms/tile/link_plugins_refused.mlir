// RUN: not stepwell-opt %s --plugin %S/tile_plugins.py -p tile-link-plugins 2>&1 | filecheck %s

// CHECK: error: act: its tile program gives (tensor<1x2x3xf32>), the op has other results
// CHECK: hint: mend the plugin's tile program
builtin.module attributes {stepwell.level = "tile", stepwell.target = "cpu", stepwell.cpu = "x86-64-v3"} {
  func.func @main(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
    %0 = graph.custom "BentLong" version "1" from "tiles" (%x) {slope = 2.5e-01 : f64} : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("act")
    func.return %0 : tensor<2x3xf32>
  }
}
