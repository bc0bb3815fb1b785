// RUN: not stepwell-opt %s --plugin %S/tile_plugins.py -p tile-link-plugins 2>&1 | filecheck %s

// CHECK: error: act: its kernel @bent is not one of this target:
// CHECK: hint: let the function that gives the program ask for `target`
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  func.func @main(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
    %0 = graph.custom "BentWide" version "1" from "tiles" (%x) {slope = 2.5e-01 : f64} : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("act")
    func.return %0 : tensor<2x3xf32>
  }
}
