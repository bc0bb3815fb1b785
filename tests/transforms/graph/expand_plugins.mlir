// RUN: stepwell-opt %s --plugin %S/../../../examples/plugins/mish.py --level graph -p graph-expand-plugins --weights-out %t.safetensors --remarks-filter plugins 2>&1 | filecheck %s

// CHECK: [passed] graph-expand-plugins: act: plugin "Mish" became the ops that it means
// CHECK-NEXT: [missed] graph-expand-plugins: other: plugin "Absent" version 3 of "nowhere" is not loaded: import the module that defines it
// CHECK: stepwell.plugins = [{node = "act", plugin = "Mish", version = "1", namespace = "examples", parameters = {}}]
// CHECK: graph.unary exp
// CHECK: graph.binary div
// CHECK: graph.custom "Absent"
builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = graph.custom "Mish" version "1" from "examples" (%x) {} : (tensor<4xf32>) -> tensor<4xf32> loc("act")
    %1 = graph.custom "Absent" version "3" from "nowhere" (%0) {} : (tensor<4xf32>) -> tensor<4xf32> loc("other")
    func.return %1 : tensor<4xf32>
  }
}
