// RUN: stepwell-opt %s | stepwell-opt | filecheck %s
// RUN: stepwell-opt %s --print-op-generic | stepwell-opt | filecheck %s

builtin.module attributes {stepwell.level = "kernel", stepwell.target = "sm_90a"} {
  // CHECK: warp.kernel @k(%{{.*}}: !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>, %{{.*}}: !hopper.tensor_map<im2col f16 [64, 128] swizzle 128>, %{{.*}}: i32) threads 384 shared 100000 {
  warp.kernel @k(%a: !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>, %b: !hopper.tensor_map<im2col f16 [64, 128] swizzle 128>, %m: i32) threads 384 shared 100000 {
    %bar = arith.constant 65536 : i32
    %z = arith.constant 0 : i32
    // CHECK: hopper.elect {
    hopper.elect {
      // CHECK: hopper.mbarrier_init %{{.*}} count 1
      hopper.mbarrier_init %bar count 1
      // CHECK: hopper.fence_barrier_init
      hopper.fence_barrier_init
      // CHECK: hopper.prefetch_tensor_map %{{.*}} : !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>
      hopper.prefetch_tensor_map %a : !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>
    }
    // CHECK: warp.barrier 0 threads 384
    warp.barrier 0 threads 384
    // CHECK: hopper.role "producer" warpgroups 1 from 0 registers 40 {
    hopper.role "producer" warpgroups 1 from 0 registers 40 {
      // CHECK: hopper.elect {
      hopper.elect {
        // CHECK: hopper.wait %{{.*}} parity %{{.*}}
        hopper.wait %bar parity %m
        // CHECK: hopper.expect_more_bytes %{{.*}}, 8192
        hopper.expect_more_bytes %bar, 8192
        // CHECK: hopper.expect_bytes %{{.*}}, 16384
        hopper.expect_bytes %bar, 16384
        // CHECK: hopper.tma_load %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}] to %{{.*}} signal %{{.*}} : !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>
        hopper.tma_load %a[%z, %z, %m] to %z signal %bar : !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>
        // CHECK: hopper.tma_load_im2col %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] offsets[%{{.*}}, %{{.*}}] to %{{.*}} signal %{{.*}} : !hopper.tensor_map<im2col f16 [64, 128] swizzle 128>
        hopper.tma_load_im2col %b[%z, %z, %m, %m] offsets[%z, %z] to %z signal %bar : !hopper.tensor_map<im2col f16 [64, 128] swizzle 128>
      }
    }
    // CHECK: hopper.role "consumer" warpgroups 2 from 1 registers 232 {
    hopper.role "consumer" warpgroups 2 from 1 registers 232 {
      // CHECK: hopper.warpgroup_id
      %w = hopper.warpgroup_id
      %p = arith.cmpi eq, %w, %z : i32
      %c = arith.constant dense<0.0> : vector<32xf32>
      // CHECK: hopper.descriptor %{{.*}} swizzle 128
      %d = hopper.descriptor %z swizzle 128
      // CHECK: hopper.wgmma_begin %{{.*}} : vector<32xf32> -> !hopper.pending<vector<32xf32>>
      %0 = hopper.wgmma_begin %c : vector<32xf32> -> !hopper.pending<vector<32xf32>>
      // CHECK: hopper.wgmma %{{.*}}, %{{.*}}, %{{.*}} "f16" instructions 4 : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
      %1 = hopper.wgmma %0, %d, %d "f16" instructions 4 : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
      // CHECK: hopper.wgmma_wait %{{.*}} pending 1 : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
      %2 = hopper.wgmma_wait %1 pending 1 : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
      // CHECK: hopper.wgmma_wait %{{.*}} pending 0 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
      %3 = hopper.wgmma_wait %2 pending 0 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
      // CHECK: %[[V:.*]] = hopper.descriptor %{{.*}} swizzle 128 leading 8192
      %v = hopper.descriptor %z swizzle 128 leading 8192
      %half = arith.truncf %3 : vector<32xf32> to vector<32xf16>
      %4 = hopper.wgmma_begin %3 : vector<32xf32> -> !hopper.pending<vector<32xf32>>
      // CHECK: hopper.wgmma_registers %{{.*}}, %{{.*}}, %[[V]] "f16" instructions 4 transpose_b steps_b [0, 2048, 4096, 6144] : !hopper.pending<vector<32xf32>>, vector<32xf16> -> !hopper.pending<vector<32xf32>>
      %5 = hopper.wgmma_registers %4, %half, %v "f16" instructions 4 transpose_b steps_b [0, 2048, 4096, 6144] : !hopper.pending<vector<32xf32>>, vector<32xf16> -> !hopper.pending<vector<32xf32>>
      // CHECK: hopper.wgmma %{{.*}}, %{{.*}}, %{{.*}} "f16" instructions 2 steps_a [0, 4096] steps_b [0, 4096]
      %6 = hopper.wgmma %5, %d, %d "f16" instructions 2 steps_a [0, 4096] steps_b [0, 4096] : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
      %7 = hopper.wgmma_wait %6 pending 0 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
      // CHECK: hopper.wgmma_zero : !hopper.pending<vector<32xf32>>
      %8 = hopper.wgmma_zero : !hopper.pending<vector<32xf32>>
      %9 = hopper.wgmma %8, %d, %d "f16" instructions 4 : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
      %fresh = hopper.wgmma_zero : !hopper.pending<vector<32xf32>>
      %next = hopper.wgmma %fresh, %d, %d "f16" instructions 4 : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
      // CHECK: hopper.wgmma_wait %{{.*}} pending 1 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
      %first = hopper.wgmma_wait %9 pending 1 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
      %last = hopper.wgmma_wait %next pending 0 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
      // CHECK: hopper.arrive %{{.*}} if %{{.*}}
      hopper.arrive %bar if %p
      // CHECK: hopper.arrive %{{.*}}
      hopper.arrive %bar
      // CHECK: hopper.proxy_fence
      hopper.proxy_fence
      %h = arith.constant dense<0.0> : vector<32xf16>
      // CHECK: hopper.fragment_to_shared %{{.*}} to %{{.*}} swizzle 128 panel 16384 : vector<32xf16>
      hopper.fragment_to_shared %h to %z swizzle 128 panel 16384 : vector<32xf16>
      // CHECK: hopper.fragment_from_shared %{{.*}} swizzle 128 panel 16384 : vector<32xf16>
      %back = hopper.fragment_from_shared %z swizzle 128 panel 16384 : vector<32xf16>
      hopper.elect {
        // CHECK: hopper.tma_store %{{.*}} to %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}] : !hopper.tensor_map<tiled
        hopper.tma_store %z to %a[%z, %z, %z] : !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>
        // CHECK: hopper.bulk_commit
        hopper.bulk_commit
        // CHECK: hopper.bulk_wait pending 0
        hopper.bulk_wait pending 0
      }
    }
    // CHECK: hopper.set_max_registers "dec" 40
    hopper.set_max_registers "dec" 40
    // CHECK: warp.return
    warp.return
  }
}
