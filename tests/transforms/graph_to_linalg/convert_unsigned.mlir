// RUN: stepwell-opt %s -p 'stepwell-convert-graph-to-linalg' | filecheck %s

// arith has no signs: an unsigned integer enters and leaves a body through a cast, and the op says how it is read.
builtin.module attributes {stepwell.level = "graph"} {
  func.func @main(%x: tensor<4xui8> {stepwell.name = "x"}) -> (tensor<4xui8> {stepwell.name = "y"}) {
    %0 = graph.fusion "f" (%a = %x : tensor<4xui8>) -> (tensor<4xui8>) {
      // CHECK:      ^bb0([[P:%[0-9a-z]+]]: ui8, [[Q:%[0-9a-z]+]]: ui8, {{%[0-9a-z]+}}: ui8):
      // CHECK-NEXT: [[A:%[0-9a-z]+]] = builtin.unrealized_conversion_cast [[P]] : ui8 to i8
      // CHECK-NEXT: [[B:%[0-9a-z]+]] = builtin.unrealized_conversion_cast [[Q]] : ui8 to i8
      // CHECK-NEXT: [[M:%[0-9a-z]+]] = arith.maxui [[A]], [[B]] : i8
      // CHECK-NEXT: [[R:%[0-9a-z]+]] = builtin.unrealized_conversion_cast [[M]] : i8 to ui8
      // CHECK-NEXT: linalg.yield [[R]] : ui8
      %m = graph.binary max %a, %a : (tensor<4xui8>, tensor<4xui8>) -> tensor<4xui8> loc("m")
      graph.yield %m : tensor<4xui8> loc("m")
    } loc("m")
    func.return %0 : tensor<4xui8>
  }
}
