// RUN: not stepwell-opt %s --plugin %S/broken_plugins.py -p graph-expand-plugins 2>&1 | filecheck %s

// CHECK: error: act: broken::WrongShape: its ops give a tensor<4x1xf32> as result 0, the op has a tensor<4xf32>
// CHECK: hint: mend the plugin's ops
builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = graph.custom "WrongShape" version "1" from "broken" (%x) {} : (tensor<4xf32>) -> tensor<4xf32> loc("act")
    func.return %0 : tensor<4xf32>
  }
}
