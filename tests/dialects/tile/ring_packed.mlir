// RUN: stepwell-opt %s | stepwell-opt | filecheck %s

// A product whose second operand is halved by a role of its own on its way into shared memory, and whose result leaves through it.
// CHECK: tile.kernel @packed
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @packed(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, plain>) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [64, 64], k = 64, stages = 3, warps = 12, copy = tma, mma = wgmma, swizzle = 128> {
    %xs = tile.ring slots 3 (64x64xf16 #tile.shared<128>)
    %ws = tile.ring slots 2 (64x64xf16 #tile.shared<128>)
    %stage = tile.ring slots 1 (64x64xf16 #tile.shared<128>)
    tile.role "load" warpgroups 1 {
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [64, 64] {
        tile.for (%t, %k) of %x dims [1, 2] step [1, 64] {
          tile.fetch %x[%i, %t, %k] dims = [0, 2] to %xs#0 via tma
        }
      }
    }
    tile.role "pack" warpgroups 1 {
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [64, 64] {
        tile.for (%t, %k) of %x dims [1, 2] step [1, 64] {
          %whole = tile.load %w[%j, %t, %k] dims = [0, 2] access 8 : !tile.tile<64x64xf16, regs, #tile.threads<16x8, width 8>>
          %half = tile.map (%1 = %whole) {
            %h = arith.constant 0.5 : f16
            %2 = arith.mulf %1, %h : f16
            tile.yield %2
          } : !tile.tile<64x64xf16, regs, #tile.threads<16x8, width 8>>
          // CHECK: %slot = tile.acquire %ws
          %slot = tile.acquire %ws
          // CHECK-NEXT: tile.write %half, %slot
          tile.write %half, %slot
          // CHECK-NEXT: tile.publish %ws
          tile.publish %ws
        }
      }
    }
    tile.role "multiply" warpgroups 1 {
      tile.wait_predecessor
      tile.for_tiles (%i, %j) of %y block [64, 64] {
        %z = tile.fill 0.0 : f32 -> !tile.tile<64x64xf32, regs, #tile.wgmma>
        %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<64x64xf32, regs, #tile.wgmma> {
          %a = tile.await %xs
          %b = tile.await %ws
          %d = tile.mma %a, %b, %c async
          tile.release %xs behind 1
          tile.release %ws behind 1
          tile.yield %d
        }
        %p = tile.finish %acc
        tile.release %xs
        tile.release %ws
        %o = tile.map (%1 = %p) {
          %2 = arith.truncf %1 : f32 to f16
          tile.yield %2
        } : !tile.tile<64x64xf16, regs, #tile.wgmma>
        %out = tile.acquire %stage
        tile.write %o, %out
        // CHECK: tile.drain %out to %y[%{{.*}}, %{{.*}}] via tma
        tile.drain %out to %y[%i, %j] via tma
      }
    }
  }
}
