// RUN: stepwell-opt %s -p 'graph-fuse-quantized' | filecheck %s
// RUN: stepwell-opt %s -p 'graph-fuse-quantized' --remarks-filter graph-fuse-quantized 2>&1 | filecheck %s --check-prefix=REMARK

// REMARK-DAG: remark: [passed] graph-fuse-quantized: fc: multiplies i8, adds in i32, and scales the sums
// REMARK-DAG: remark: [passed] graph-fuse-quantized: out: written as elementwise ops
// REMARK-DAG: remark: [passed] graph-fuse-quantized: whole: multiplies i8, adds in i32
// REMARK-DAG: remark: [missed] graph-fuse-quantized: mixed: the integers stay behind floats: they are ui8 and i8, products take two of i8 or two of ui8
// REMARK-DAG: remark: [missed] graph-fuse-quantized: rows: the integers stay behind floats: the left factor has several scales

builtin.module attributes {stepwell.level = "graph"} {
  // CHECK-LABEL: @main
  func.func @main(%q: tensor<8x64xi8> {stepwell.name = "q"}, %w: tensor<64x16xi8> {stepwell.name = "w"}, %s: tensor<f32> {stepwell.name = "s"},
      %t: tensor<16xf32> {stepwell.name = "t"}, %u: tensor<8x64xui8> {stepwell.name = "u"}, %r: tensor<8xf32> {stepwell.name = "r"})
      -> (tensor<8x16xi8> {stepwell.name = "y"}, tensor<8x16xi32> {stepwell.name = "i"}, tensor<8x16xf32> {stepwell.name = "m"}, tensor<8x16xf32> {stepwell.name = "n"}) {
    %zero = graph.constant [0] : tensor<i8> loc("zero")
    %zeros = graph.constant [0] : tensor<16xi8> loc("zeros")
    %a = graph.dequantize %q, %s, %zero dims [] block [] : (tensor<8x64xi8>, tensor<f32>, tensor<i8>) -> tensor<8x64xf32> loc("a")
    %b = graph.dequantize %w, %t, %zeros dims [1] block [1] : (tensor<64x16xi8>, tensor<16xf32>, tensor<16xi8>) -> tensor<64x16xf32> loc("b")
    // CHECK:      [[P:%[0-9a-z]+]] = graph.matmul %q, %w : (tensor<8x64xi8>, tensor<64x16xi8>) -> tensor<8x16xi32>
    // CHECK-NEXT: [[R:%[0-9a-z]+]] = graph.cast [[P]] : tensor<8x16xi32> -> tensor<8x16xf32>
    // CHECK-NEXT: [[S:%[0-9a-z]+]] = graph.broadcast %s dims [] : tensor<f32> -> tensor<8x16xf32>
    // CHECK-NEXT: [[M:%[0-9a-z]+]] = graph.binary mul [[R]], [[S]]
    // CHECK-NEXT: [[T:%[0-9a-z]+]] = graph.broadcast %t dims [1] : tensor<16xf32> -> tensor<8x16xf32>
    // CHECK-NEXT: %y = graph.binary mul [[M]], [[T]]
    %y = graph.matmul %a, %b : (tensor<8x64xf32>, tensor<64x16xf32>) -> tensor<8x16xf32> loc("fc")
    // CHECK:      graph.binary div %y
    // CHECK-NEXT: graph.unary round_even
    // CHECK-NEXT: graph.binary add
    // CHECK-NEXT: graph.cast {{.*}} : tensor<8x16xf32> -> tensor<8x16xi8>
    %z = graph.quantize %y, %s, %zero dims [] block [] : (tensor<8x16xf32>, tensor<f32>, tensor<i8>) -> tensor<8x16xi8> loc("out")
    // CHECK:      graph.matmul %q, %w : (tensor<8x64xi8>, tensor<64x16xi8>) -> tensor<8x16xi32>
    %c = graph.cast %q : tensor<8x64xi8> -> tensor<8x64xi32> loc("c")
    %d = graph.cast %w : tensor<64x16xi8> -> tensor<64x16xi32> loc("d")
    %i = graph.matmul %c, %d : (tensor<8x64xi32>, tensor<64x16xi32>) -> tensor<8x16xi32> loc("whole")
    // Refused: integers of two types.
    // CHECK:      graph.matmul {{.*}} : (tensor<8x64xf32>, tensor<64x16xf32>) -> tensor<8x16xf32>
    %none = graph.constant [0] : tensor<ui8> loc("none")
    %e = graph.dequantize %u, %s, %none dims [] block [] : (tensor<8x64xui8>, tensor<f32>, tensor<ui8>) -> tensor<8x64xf32> loc("e")
    %f = graph.dequantize %w, %t, %zeros dims [1] block [1] : (tensor<64x16xi8>, tensor<16xf32>, tensor<16xi8>) -> tensor<64x16xf32> loc("f")
    %m = graph.matmul %e, %f : (tensor<8x64xf32>, tensor<64x16xf32>) -> tensor<8x16xf32> loc("mixed")
    // Refused: a scale for each row.
    // CHECK:      graph.matmul {{.*}} : (tensor<8x64xf32>, tensor<64x16xf32>) -> tensor<8x16xf32>
    %eight = graph.constant [0] : tensor<8xi8> loc("eight")
    %g = graph.dequantize %q, %r, %eight dims [0] block [1] : (tensor<8x64xi8>, tensor<8xf32>, tensor<8xi8>) -> tensor<8x64xf32> loc("g")
    %n = graph.matmul %g, %f : (tensor<8x64xf32>, tensor<64x16xf32>) -> tensor<8x16xf32> loc("rows")
    func.return %z, %i, %m, %n : tensor<8x16xi8>, tensor<8x16xi32>, tensor<8x16xf32>, tensor<8x16xf32>
  }
}
