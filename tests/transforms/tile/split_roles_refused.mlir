// RUN: not stepwell-opt %s -p tile-split-roles 2>&1 | filecheck %s
// RUN: not stepwell-opt %s -p 'tile-split-roles{load_registers=36}' 2>&1 | filecheck %s --check-prefix=BUDGET

// CHECK: accumulators of 256 x 240 take 120 registers of each thread, its budget is 112
// CHECK: 216 columns, or 128 rows
// BUDGET: load_registers=36: setmaxnreg takes multiples of 8 from 24 to 240
// BUDGET: load_registers=40
builtin.module attributes {stepwell.level = "plan", stepwell.target = "sm_90a"} {
  tile.kernel @fc(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, packed, constant>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [256, 240], k = 64, stages = 3, warps = 20, copy = tma, mma = wgmma, swizzle = 128> {
    %ab = tile.ring slots 3 (256x64xf16 #tile.shared<128>, 240x64xf16 #tile.shared<128>)
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [256, 240] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<256x240xf32, regs, #tile.wgmma>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<256x240xf32, regs, #tile.wgmma> {
        tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
        tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
        %a, %b = tile.await %ab
        %d = tile.mma %a, %b, %c async
        tile.release %ab behind 1
        tile.yield %d
      }
      %p = tile.finish %acc
      tile.release %ab
      tile.store %p, %y[%i, %j] access 2
    }
  }
}
