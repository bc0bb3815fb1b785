// RUN: stepwell-opt %s -p 'stepwell-convert-tile-to-plan' | filecheck %s
// RUN: stepwell-opt %s -p 'stepwell-convert-tile-to-plan,plan-assign-offsets' | filecheck %s --check-prefix=PLACED
// RUN: stepwell-opt %s -p 'stepwell-convert-tile-to-plan,plan-assign-offsets,plan-assign-offsets' | filecheck %s --check-prefix=PLACED

// CHECK: stepwell.level = "plan"
builtin.module attributes {stepwell.level = "tile", stepwell.target = "cpu"} {
  tile.kernel @double(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %t = tile.load %x[%i, %j] : !tile.tile<4x16xf32, regs>
      %o = tile.map (%p = %t) {
        %s = arith.addf %p, %p : f32
        tile.yield %s
      } : !tile.tile<4x16xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  // CHECK:      plan.program @main {
  // CHECK-NEXT:   %image = plan.binding "image" input : !plan.buffer<2x4x16xf32>
  // CHECK-NEXT:   %probs = plan.binding "probs" output : !plan.buffer<1x8x16xf32>
  // CHECK-NEXT:   %again = plan.binding "again" output : !plan.buffer<8x16xf32>
  // CHECK-NEXT:   %weight = plan.binding "weight" output : !plan.buffer<2x2xf32>
  // CHECK-NEXT:   %v = plan.view %image : !plan.buffer<2x4x16xf32> -> !plan.buffer<8x16xf32>
  // CHECK-NEXT:   %a = plan.slice live [0, 1] : !plan.buffer<8x16xf32>
  // CHECK-NEXT:   plan.launch @double(%v) outs(%a) : (!plan.buffer<8x16xf32>) outs(!plan.buffer<8x16xf32>)
  // CHECK-NEXT:   %b = plan.slice live [1, 2] : !plan.buffer<8x16xf32>
  // CHECK-NEXT:   plan.launch @double(%a) outs(%b)
  // CHECK-NEXT:   %c = plan.view %probs : !plan.buffer<1x8x16xf32> -> !plan.buffer<8x16xf32>
  // CHECK-NEXT:   plan.launch @double(%b) outs(%c)
  // CHECK-NEXT:   %w = plan.constant dense<1.000000e+00> : tensor<2x2xf32> : !plan.buffer<2x2xf32>
  // CHECK-NEXT:   plan.copy %c to %again
  // CHECK-NEXT:   plan.copy %w to %weight
  // PLACED:      plan.program @main arena 1024 constants 256 {
  // PLACED:        plan.slice at 0 live [0, 1]
  // PLACED:        plan.slice at 512 live [1, 2]
  // PLACED:        plan.constant dense<1.000000e+00> : tensor<2x2xf32> at 0
  func.func @main(%image: tensor<2x4x16xf32> {stepwell.name = "image"}) -> (tensor<1x8x16xf32> {stepwell.name = "probs"}, tensor<8x16xf32> {stepwell.name = "again"}, tensor<2x2xf32> {stepwell.name = "weight"}) {
    %v = graph.reshape %image : tensor<2x4x16xf32> -> tensor<8x16xf32>
    %a = tile.apply @double(%v) : (tensor<8x16xf32>) -> tensor<8x16xf32>
    %b = tile.apply @double(%a) : (tensor<8x16xf32>) -> tensor<8x16xf32>
    %c = tile.apply @double(%b) : (tensor<8x16xf32>) -> tensor<8x16xf32>
    %r = graph.reshape %c : tensor<8x16xf32> -> tensor<1x8x16xf32>
    %w = arith.constant dense<1.0> : tensor<2x2xf32>
    func.return %r, %c, %w : tensor<1x8x16xf32>, tensor<8x16xf32>, tensor<2x2xf32>
  }
}
