// RUN: stepwell-opt %s -p graph-fuse-epilogue --remarks-filter fuse -o %t 2>&1 | filecheck %s
// RUN: stepwell-opt %s -p graph-fuse-epilogue --remarks-filter fuse --remark-format json -o %t 2>&1 | filecheck %s --check-prefix JSON
// RUN: stepwell-opt %s -p graph-fuse-epilogue --remarks-filter fuse --remark-format yaml -o %t 2>&1 | filecheck %s --check-prefix YAML
// RUN: stepwell-opt %s -p graph-fuse-epilogue --remarks-output-file %t && cat %t | filecheck %s
// RUN: stepwell-opt %s -p graph-fuse-epilogue --remarks-filter no-such-pass --check-semantics | filecheck %s --check-prefix NONE

// CHECK: remark: [passed] graph-fuse-epilogue: {{.*}}fc
// JSON: {"kind": "passed", "pass": "graph-fuse-epilogue", "names": ["fc"
// YAML: --- !Passed
// YAML-NEXT: Pass: graph-fuse-epilogue
// NONE-NOT: remark:
// NONE: graph.fusion
func.func @main(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) -> tensor<2x4xf32> {
  %0 = graph.matmul %x, %w transpose_b : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32> loc("fc")
  %1 = graph.unary relu %0 : tensor<2x4xf32> -> tensor<2x4xf32> loc("act")
  func.return %1 : tensor<2x4xf32>
}
