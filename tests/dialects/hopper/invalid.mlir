// RUN: stepwell-opt %s --verify-diagnostics -split-input-file

// what is expected is what is loaded
warp.kernel @k(%a: !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>, %m: i32) threads 256 shared 100000 {
  %z = arith.constant 0 : i32
  %bar = arith.constant 65536 : i32
  // expected-error@+1 {{hopper.expect_bytes: expects 4096 bytes, but the loads on this barrier bring 8192}}
  hopper.expect_bytes %bar, 4096
  hopper.tma_load %a[%z, %z, %m] to %z signal %bar : !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>
  warp.return
}

// -----

// expecting in parts
warp.kernel @k(%a: !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>, %m: i32) threads 256 shared 100000 {
  %z = arith.constant 0 : i32
  %bar = arith.constant 65536 : i32
  // expected-error@+1 {{hopper.expect_more_bytes: expects 6144 bytes, but the loads on this barrier bring 8192}}
  hopper.expect_more_bytes %bar, 2048
  hopper.tma_load %a[%z, %z, %m] to %z signal %bar : !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>
  // expected-error@+1 {{hopper.expect_bytes: expects 6144 bytes}}
  hopper.expect_bytes %bar, 4096
  warp.return
}

// -----

// mbarriers are aligned
warp.kernel @k() threads 256 shared 100000 {
  %bar = arith.constant 4 : i32
  // expected-error@+1 {{hopper.mbarrier_init: barrier at byte 4; mbarriers are 8 bytes, aligned to 8}}
  hopper.mbarrier_init %bar count 1
  warp.return
}

// -----

// destinations are aligned to the swizzle
warp.kernel @k(%a: !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>, %m: i32) threads 256 shared 100000 {
  %o = arith.constant 512 : i32
  // expected-error@+1 {{hopper.tma_load: destination at byte 512; swizzle 128 needs shared offsets aligned to 1024}}
  hopper.tma_load %a[%m, %m, %m] to %o signal %m : !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>
  warp.return
}

// -----

// descriptors are aligned to the swizzle
warp.kernel @k() threads 256 shared 100000 {
  %o = arith.constant 256 : i32
  // expected-error@+1 {{hopper.descriptor: offset 256; swizzle 64 needs a multiple of 512}}
  %d = hopper.descriptor %o swizzle 64
  warp.return
}

// -----

// coordinates fit the map
warp.kernel @k(%a: !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>, %m: i32) threads 256 shared 100000 {
  // expected-error@+1 {{hopper.tma_load: 2 coordinates for a map of rank 3}}
  hopper.tma_load %a[%m, %m] to %m signal %m : !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>
  warp.return
}

// -----

// tiled maps are not im2col maps
warp.kernel @k(%a: !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>, %m: i32) threads 256 shared 100000 {
  // expected-error@+1 {{hopper.tma_load_im2col: the tensor map is tiled; this load needs im2col}}
  hopper.tma_load_im2col %a[%m, %m, %m] offsets[%m, %m] to %m signal %m : !hopper.tensor_map<tiled f16 [64, 1, 64] swizzle 128>
  warp.return
}

// -----

// an accumulator in flight has one reader
warp.kernel @k() threads 256 shared 100000 {
  %c = arith.constant dense<0.0> : vector<32xf32>
  // expected-error@+1 {{hopper.wgmma_begin: an accumulator in flight is used more than once; wait for it first}}
  %p = hopper.wgmma_begin %c : vector<32xf32> -> !hopper.pending<vector<32xf32>>
  // expected-error@+1 {{hopper.wgmma_wait: an accumulator in flight is used more than once; wait for it first}}
  %1 = hopper.wgmma_wait %p pending 0 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
  // expected-error@+1 {{hopper.wgmma_wait: an accumulator in flight is used more than once; wait for it first}}
  %2 = hopper.wgmma_wait %p pending 0 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
  warp.return
}

// -----

// zeros are written by a product, nobody waits for them
warp.kernel @k() threads 256 shared 100000 {
  // expected-error@+1 {{hopper.wgmma_zero: a product of the same block takes it, not hopper.wgmma_wait}}
  %p = hopper.wgmma_zero : !hopper.pending<vector<32xf32>>
  %1 = hopper.wgmma_wait %p pending 0 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
  warp.return
}

// -----

// waits give vectors only at the end
warp.kernel @k() threads 256 shared 100000 {
  %c = arith.constant dense<0.0> : vector<32xf32>
  %z = arith.constant 0 : i32
  %d = hopper.descriptor %z swizzle 128
  %p = hopper.wgmma_begin %c : vector<32xf32> -> !hopper.pending<vector<32xf32>>
  // expected-error@+1 {{hopper.wgmma_wait: pending 1 hands out an accumulator that may still be written: 0 products begin after its own}}
  %1 = hopper.wgmma_wait %p pending 1 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
  warp.return
}

// -----

// wgmma takes whole warpgroups
warp.kernel @k() threads 96 shared 100000 {
  %c = arith.constant dense<0.0> : vector<32xf32>
  %z = arith.constant 0 : i32
  %d = hopper.descriptor %z swizzle 128
  %p = hopper.wgmma_begin %c : vector<32xf32> -> !hopper.pending<vector<32xf32>>
  // expected-error@+1 {{hopper.wgmma_wait: a block of 96 threads is not made of warpgroups of 128}}
  %1 = hopper.wgmma_wait %p pending 0 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
  warp.return
}

// -----

// operands are f16 or tf32
warp.kernel @k() threads 256 shared 100000 {
  %c = arith.constant dense<0.0> : vector<32xf32>
  %z = arith.constant 0 : i32
  %d = hopper.descriptor %z swizzle 128
  %p = hopper.wgmma_begin %c : vector<32xf32> -> !hopper.pending<vector<32xf32>>
  // expected-error@+1 {{hopper.wgmma: operands that are added in f32 are f16, bf16, tf32, e4m3, e5m2, not f8}}
  %1 = hopper.wgmma %p, %d, %d "f8" instructions 4 : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
  warp.return
}

// -----

// a row of a swizzle has four steps
warp.kernel @k() threads 256 shared 100000 {
  %c = arith.constant dense<0.0> : vector<32xf32>
  %z = arith.constant 0 : i32
  %d = hopper.descriptor %z swizzle 128
  %p = hopper.wgmma_begin %c : vector<32xf32> -> !hopper.pending<vector<32xf32>>
  // expected-error@+1 {{hopper.wgmma: 5 instructions; a row of a swizzle has 4 of 32 bytes: say where each begins}}
  %1 = hopper.wgmma %p, %d, %d "f16" instructions 5 : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
  warp.return
}

// -----

// steps count 16 bytes, one for each instruction
warp.kernel @k() threads 256 shared 100000 {
  %c = arith.constant dense<0.0> : vector<32xf32>
  %z = arith.constant 0 : i32
  %d = hopper.descriptor %z swizzle 128
  %p = hopper.wgmma_begin %c : vector<32xf32> -> !hopper.pending<vector<32xf32>>
  // expected-error@+1 {{hopper.wgmma: steps [0, 24] are not 2 multiples of 16 bytes}}
  %1 = hopper.wgmma %p, %d, %d "f16" instructions 2 steps_b [0, 24] : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
  warp.return
}

// -----

// only 16-bit elements are transposed
warp.kernel @k() threads 256 shared 100000 {
  %c = arith.constant dense<0.0> : vector<32xf32>
  %z = arith.constant 0 : i32
  %d = hopper.descriptor %z swizzle 128
  %p = hopper.wgmma_begin %c : vector<32xf32> -> !hopper.pending<vector<32xf32>>
  // expected-error@+1 {{hopper.wgmma: tf32 operands are K-major: wgmma transposes 16-bit elements}}
  %1 = hopper.wgmma %p, %d, %d "tf32" instructions 2 transpose_b : !hopper.pending<vector<32xf32>> -> !hopper.pending<vector<32xf32>>
  warp.return
}

// -----

// registers of A: eight elements for each instruction
warp.kernel @k() threads 256 shared 100000 {
  %c = arith.constant dense<0.0> : vector<32xf32>
  %a = arith.constant dense<0.0> : vector<16xf16>
  %z = arith.constant 0 : i32
  %d = hopper.descriptor %z swizzle 128
  %p = hopper.wgmma_begin %c : vector<32xf32> -> !hopper.pending<vector<32xf32>>
  // expected-error@+1 {{hopper.wgmma_registers: A is vector<16xf16>: 4 instructions take vector<32xf16> or bf16 of their element}}
  %1 = hopper.wgmma_registers %p, %a, %d "f16" instructions 4 : !hopper.pending<vector<32xf32>>, vector<16xf16> -> !hopper.pending<vector<32xf32>>
  warp.return
}

// -----

// the bytes between panels
warp.kernel @k() threads 256 shared 100000 {
  %z = arith.constant 0 : i32
  // expected-error@+1 {{hopper.descriptor: leading 24; give a multiple of 16 bytes below 262144}}
  %d = hopper.descriptor %z swizzle 128 leading 24
  warp.return
}

// -----

// budgets come in eights
warp.kernel @k() threads 256 shared 100000 {
  // expected-error@+1 {{hopper.role: 41 registers; setmaxnreg takes multiples of 8 in 24 .. 240}}
  hopper.role "all" warpgroups 2 from 0 registers 41 {
    hopper.proxy_fence
  }
  warp.return
}

// -----

// budgets fit the register file
warp.kernel @k() threads 384 shared 100000 {
  // expected-error@+1 {{hopper.role: the roles want 92160 registers, a multiprocessor has 65536}}
  hopper.role "all" warpgroups 3 from 0 registers 240 {
    hopper.proxy_fence
  }
  warp.return
}

// -----

// roles lie in the block
warp.kernel @k() threads 256 shared 100000 {
  // expected-error@+1 {{hopper.role: warpgroups range(1, 3) of a block of 256 threads}}
  hopper.role "late" warpgroups 2 from 1 {
    hopper.proxy_fence
  }
  warp.return
}

// -----

// wgmma under elect
warp.kernel @k() threads 128 shared 1024 {
  %c = arith.constant dense<0.0> : vector<32xf32>
  hopper.elect {
    %p = hopper.wgmma_begin %c : vector<32xf32> -> !hopper.pending<vector<32xf32>>
    // expected-error@+1 {{hopper.wgmma_wait: under hopper.elect one thread would run it; it takes whole warpgroups}}
    %1 = hopper.wgmma_wait %p pending 0 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
  }
  warp.return
}

// -----

// wgmma beside roles
warp.kernel @k() threads 256 shared 1024 {
  %c = arith.constant dense<0.0> : vector<32xf32>
  hopper.role "idle" warpgroups 1 from 0 {
    hopper.proxy_fence
  }
  %p = hopper.wgmma_begin %c : vector<32xf32> -> !hopper.pending<vector<32xf32>>
  // expected-error@+1 {{hopper.wgmma_wait: stands outside the kernel's roles; move it into a role of whole warpgroups}}
  %1 = hopper.wgmma_wait %p pending 0 : !hopper.pending<vector<32xf32>> -> vector<32xf32>
  warp.return
}

// -----

// roles do not overlap
warp.kernel @k() threads 256 shared 1024 {
  // expected-error@+1 {{hopper.role: two roles share a warpgroup; their spans must be disjoint}}
  hopper.role "one" warpgroups 2 from 0 {
    hopper.proxy_fence
  }
  // expected-error@+1 {{hopper.role: two roles share a warpgroup; their spans must be disjoint}}
  hopper.role "two" warpgroups 1 from 1 {
    hopper.proxy_fence
  }
  warp.return
}

// -----

// stmatrix takes f16
warp.kernel @k() threads 128 shared 16384 {
  %z = arith.constant 0 : i32
  %v = arith.constant dense<0.0> : vector<32xf32>
  // expected-error@+1 {{hopper.fragment_to_shared: vector<32xf32>; stmatrix takes f16 or bf16 in whole 16 columns, up to 256}}
  hopper.fragment_to_shared %v to %z swizzle 128 panel 8192 : vector<32xf32>
  warp.return
}

// -----

// panels do not overlap
warp.kernel @k() threads 128 shared 16384 {
  %z = arith.constant 0 : i32
  %v = arith.constant dense<0.0> : vector<64xf16>
  // expected-error@+1 {{hopper.fragment_to_shared: panels 4096 bytes apart; 64 rows take 8192, in whole 1024s}}
  hopper.fragment_to_shared %v to %z swizzle 128 panel 4096 : vector<64xf16>
  warp.return
}

// -----

// rows of a swizzle begin where it repeats
warp.kernel @k() threads 128 shared 16384 {
  %z = arith.constant 512 : i32
  %v = arith.constant dense<0.0> : vector<32xf16>
  // expected-error@+1 {{hopper.fragment_to_shared: offset 512; swizzle 128 needs a multiple of 1024}}
  hopper.fragment_to_shared %v to %z swizzle 128 panel 8192 : vector<32xf16>
  warp.return
}

// -----

// a store has as many coordinates as its map
warp.kernel @k(%m: !hopper.tensor_map<tiled f16 [64, 64] swizzle 128>) threads 128 shared 16384 {
  %z = arith.constant 0 : i32
  // expected-error@+1 {{hopper.tma_store: 1 coordinates for a tiled map of rank 2; a store takes a tiled map and as many coordinates}}
  hopper.tma_store %z to %m[%z] : !hopper.tensor_map<tiled f16 [64, 64] swizzle 128>
  warp.return
}

// -----

// few groups are counted
warp.kernel @k() threads 128 shared 0 {
  // expected-error@+1 {{hopper.bulk_wait: pending 8; give 0 to 7 groups}}
  hopper.bulk_wait pending 8
  warp.return
}

// -----

// ldmatrix takes 16-bit elements
warp.kernel @k() threads 128 shared 16384 {
  %z = arith.constant 0 : i32
  // expected-error@+1 {{hopper.fragment_from_shared: vector<32xf32>; ldmatrix takes f16 or bf16 in whole 16 columns, up to 256}}
  %v = hopper.fragment_from_shared %z swizzle 128 panel 8192 : vector<32xf32>
  warp.return
}
