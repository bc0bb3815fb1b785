// y [m, n] = a [m, 64 * tiles] * b [n, 64 * tiles]^T + bias, by tiles of 128 x 64: one producer warpgroup, two consumers, a ring of three slots, one product in flight.
builtin.module {
  warp.kernel @gemm(%a: !hopper.tensor_map<tiled f16 [64, 128] swizzle 128>, %b: !hopper.tensor_map<tiled f16 [64, 64] swizzle 128>, %bias: !warp.global<f32>, %y: !warp.global<f32>, %m: i32, %n: i32, %tiles: i32, %across: i32) threads 384 shared 73776 {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c2 = arith.constant 2 : i32
    %c3 = arith.constant 3 : i32
    %c16 = arith.constant 16 : i32
    %c64 = arith.constant 64 : i32
    %c128 = arith.constant 128 : i32
    %slot_a = arith.constant 16384 : i32
    %half_a = arith.constant 8192 : i32
    %slot_b = arith.constant 8192 : i32
    %base_b = arith.constant 49152 : i32
    %base_full = arith.constant 73728 : i32
    %base_empty = arith.constant 73736 : i32
    %block = warp.block_id
    %bi = arith.divui %block, %across : i32
    %bj = arith.remui %block, %across : i32
    %row = arith.muli %bi, %c128 : i32
    %col = arith.muli %bj, %c64 : i32
    hopper.elect {
      scf.for %s = %c0 to %c3 step %c1 : i32 {
        %o = arith.muli %s, %c16 : i32
        %f = arith.addi %base_full, %o : i32
        %e = arith.addi %base_empty, %o : i32
        hopper.mbarrier_init %f count 1
        hopper.mbarrier_init %e count 2
      }
      hopper.fence_barrier_init
    }
    warp.barrier 0 threads 384
    hopper.role "producer" warpgroups 1 from 0 registers 40 {
      hopper.elect {
        warp.wait_predecessor
        scf.for %t = %c0 to %tiles step %c1 : i32 {
          %slot = arith.remui %t, %c3 : i32
          %round = arith.divui %t, %c3 : i32
          %flip = arith.addi %round, %c1 : i32
          %parity = arith.andi %flip, %c1 : i32
          %o = arith.muli %slot, %c16 : i32
          %full = arith.addi %base_full, %o : i32
          %empty = arith.addi %base_empty, %o : i32
          hopper.wait %empty parity %parity
          hopper.expect_bytes %full, 24576
          %k = arith.muli %t, %c64 : i32
          %da = arith.muli %slot, %slot_a : i32
          %db0 = arith.muli %slot, %slot_b : i32
          %db = arith.addi %base_b, %db0 : i32
          hopper.tma_load %a[%k, %row] to %da signal %full : !hopper.tensor_map<tiled f16 [64, 128] swizzle 128>
          hopper.tma_load %b[%k, %col] to %db signal %full : !hopper.tensor_map<tiled f16 [64, 64] swizzle 128>
        }
      }
    }
    hopper.role "consumer" warpgroups 2 from 1 registers 232 {
      %group = hopper.warpgroup_id
      %zero = arith.constant dense<0.0> : vector<32xf32>
      %begin = hopper.wgmma_begin %zero : vector<32xf32> -> !hopper.pending<vector<32xf32>>
      %half = arith.muli %group, %half_a : i32
      %thread = warp.thread_id
      %c127 = arith.constant 127 : i32
      %lane = arith.andi %thread, %c127 : i32
      %first = arith.cmpi eq, %lane, %c0 : i32
      %last = scf.for %t = %c0 to %tiles step %c1 iter_args(%acc = %begin) -> (!hopper.pending<vector<32xf32>>) : i32 {
        %slot = arith.remui %t, %c3 : i32
        %round = arith.divui %t, %c3 : i32
        %parity = arith.andi %round, %c1 : i32
        %o = arith.muli %slot, %c16 : i32
        %full = arith.addi %base_full, %o : i32
        hopper.wait %full parity %parity
        %oa0 = arith.muli %slot, %slot_a : i32
        %oa = arith.addi %oa0, %half : i32
        %ob0 = arith.muli %slot, %slot_b : i32
        %ob = arith.addi %base_b, %ob0 : i32
        %adesc = hopper.descriptor %oa swizzle 128
        %bdesc = hopper.descriptor %ob swizzle 128
        %next = hopper.wgmma %acc, %adesc, %bdesc "f16" instructions 4 : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
        %waited = hopper.wgmma_wait %next pending 1 : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
        %before = arith.cmpi ne, %t, %c0 : i32
        %release = arith.andi %before, %first : i1
        %p0 = arith.addi %t, %c2 : i32
        %previous = arith.remui %p0, %c3 : i32
        %po = arith.muli %previous, %c16 : i32
        %pempty = arith.addi %base_empty, %po : i32
        hopper.arrive %pempty if %release
        scf.yield %waited : !hopper.pending<vector<32xf32>>
      }
      %sum = hopper.wgmma_wait %last pending 0 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
      %columns = warp.fragment_load_row %bias[%col] bounds [%n] <wgmma 64x64> access 2 : !warp.global<f32> -> vector<16xf32>
      %biases = warp.spread %columns "cols" <wgmma 64x64> : vector<16xf32> -> vector<32xf32>
      %out = arith.addf %sum, %biases : vector<32xf32>
      %c64g = arith.muli %group, %c64 : i32
      %r = arith.addi %row, %c64g : i32
      warp.wait_predecessor
      warp.fragment_store %out, %y[%r, %col] stride %n bounds [%m, %n] <wgmma 64x64> access 2 : vector<32xf32>, !warp.global<f32>
    }
    warp.return
  }
}
