// RUN: stepwell-opt %s -p 'tile-split-rows,stepwell-convert-tile-to-cpu' --split-input-file | filecheck %s

// A product: the function over tiles, the record of its launch.

// CHECK: builtin.module attributes {stepwell.level = "kernel"
builtin.module attributes {stepwell.level = "plan", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  // CHECK:      func.func @product(%record: !llvm.ptr, %first: i64, %last: i64) attributes {stepwell.kernel
  // CHECK:        scf.for
  // CHECK:          llvm.load {{.*}} -> vector<64xf32>
  // CHECK-COUNT-6:  math.fma {{.*}} : vector<64xf32>
  // CHECK:          scf.if
  // CHECK:            arith.maximumf {{.*}} : vector<64xf32>
  // CHECK:          } else {
  // CHECK:            llvm_extra.masked_store
  tile.kernel @product(%x: !tile.ref<3xf32, plain>, %w: !tile.ref<3xf32, packed<64>, constant>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [6, 64], mma = fma> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [6, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<6x64xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 1] iter (%c = %z) -> !tile.tile<6x64xf32, regs> {
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<6x1xf32, in_place>
        %b = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x1xf32, packed>
        %d = tile.mma %a, %b, %c
        tile.yield %d
      }
      %o = tile.map (%p = %acc) {
        %zero = arith.constant 0.0 : f32
        %m = arith.maximumf %p, %zero : f32
        tile.yield %m
      } : !tile.tile<6x64xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  // CHECK:      plan.program @main
  // CHECK:        %c32768 = arith.constant 32768 : i64
  // CHECK:        %w_d0 = plan.multiply
  // CHECK:        %[[FIT:.*]] = plan.floor_div %c32768
  // CHECK-NEXT:   %group = plan.maximum %[[FIT]], 1 : i64
  // CHECK:        %tiles = plan.multiply
  // CHECK-NEXT:   plan.launch @product(%x, {{.*}}, %w, {{.*}}, %y, {{.*}}, %group) tiles %tiles grain 13 reads [0, 6] writes [10]
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<8x1x16xf32>
    %w = plan.constant dense<1.0> : tensor<2x1x16x64xf32> : !plan.buffer<2x1x16x64xf32>
    %y = plan.binding "y" output : !plan.buffer<8x100xf32>
    plan.launch @product(%x, %w) outs(%y) : (!plan.buffer<8x1x16xf32>, !plan.buffer<2x1x16x64xf32>) outs(!plan.buffer<8x100xf32>)
  }
}
