// RUN: stepwell-opt %s --verify-diagnostics -split-input-file

// fragments have the size of their layout
warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 256 shared 0 {
  // expected-error@+1 {{warp.fragment_load: the layout gives each thread vector<8xf32>, but the value is vector<4xf32>}}
  %f = warp.fragment_load %x[%m, %m] stride %m bounds[%m, %m] <blocked 32x64 threads 256 width 4> access 4 : !warp.global<f32> -> vector<4xf32>
  warp.return
}

// -----

// an access is no wider than the layout
warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 256 shared 0 {
  // expected-error@+1 {{warp.fragment_load: access 4 of f32; give a power of two that divides width 2}}
  %f = warp.fragment_load %x[%m, %m] stride %m bounds[%m, %m] <wgmma 64x16> access 4 : !warp.global<f32> -> vector<8xf32>
  warp.return
}

// -----

// elements that can be moved
warp.kernel @k(%i: !warp.global<f64>, %m: i32) threads 256 shared 0 {
  // expected-error@+1 {{warp.fragment_load_row: cannot move elements of type f64; use f16, bf16, f32, i8, i16, i32}}
  %f = warp.fragment_load_row %i[%m] bounds[%m] <wgmma 64x16> access 1 : !warp.global<f64> -> vector<8xf64>
  warp.return
}

// -----

// along is rows or cols
warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 256 shared 0 {
  // expected-error@+1 {{warp.fragment_index: along is "rows" or "cols", not "diagonal"}}
  %f = warp.fragment_index "diagonal" <blocked 32x64 threads 256 width 4> : vector<2xi32>
  warp.return
}

// -----

// one value per row is spread
warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 256 shared 0 {
  %v = arith.constant dense<0.0> : vector<4xf32>
  // expected-error@+1 {{warp.spread: the layout has 2 rows per thread, not vector<4xf32>}}
  %f = warp.spread %v "rows" <blocked 32x64 threads 256 width 4> : vector<4xf32> -> vector<8xf32>
  warp.return
}

// -----

// a gather gives all loads
warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 256 shared 0 {
  %o = arith.constant dense<0> : vector<2xi32>
  %k = arith.constant dense<true> : vector<2xi1>
  %f = arith.constant 0.0 : f32
  // expected-error@+1 {{warp.gather: 2 loads of 4 give 8 elements, not vector<2xf32>}}
  %g = warp.gather %x[%o] if %k else %f width 4 : !warp.global<f32>, vector<2xi32>, vector<2xi1>, f32 -> vector<2xf32>
  warp.return
}

// -----

// a gather takes 16 bytes at most
warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 256 shared 0 {
  %o = arith.constant dense<0> : vector<2xi32>
  %k = arith.constant dense<true> : vector<2xi1>
  %f = arith.constant 0.0 : f32
  // expected-error@+1 {{warp.gather: width 8 of f32; give a power of two of at most 16 bytes}}
  %g = warp.gather %x[%o] if %k else %f width 8 : !warp.global<f32>, vector<2xi32>, vector<2xi1>, f32 -> vector<16xf32>
  warp.return
}

// -----

// division is of i32
warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 256 shared 0 {
  %f = arith.constant 0.0 : f32
  // expected-error@+1 {{warp.divide: cannot divide f32; divide i32 or vectors of i32}}
  %q = warp.divide %f by(%m, %m) : f32
  warp.return
}

// -----

// range checks are of vectors of i32
warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 256 shared 0 {
  %f = arith.constant dense<0.0> : vector<2xf32>
  // expected-error@+1 {{warp.within: vector<2xf32> -> vector<2xi1>; it takes a vector of i32 and gives as many i1}}
  %q = warp.within %f below %m : vector<2xf32> -> vector<2xi1>
  warp.return
}

// -----

// barriers 0 to 15
warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 256 shared 0 {
  // expected-error@+1 {{warp.barrier: id 16; a block has barriers 0 to 15}}
  warp.barrier 16 threads 256
  warp.return
}

// -----

// barriers count whole warps
warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 256 shared 0 {
  // expected-error@+1 {{warp.barrier: 100 threads; give a multiple of 32}}
  warp.barrier 0 threads 100
  warp.return
}

// -----

// threads come in warps
// expected-error@+1 {{warp.kernel @k: 100 threads; give a multiple of 32 up to 1024}}
warp.kernel @k() threads 100 shared 0 {
  warp.return
}

// -----

// shared memory ends at 227 KiB
// expected-error@+1 {{warp.kernel @k: 232449 bytes of shared memory exceed 227 KiB; use fewer stages or a smaller tile}}
warp.kernel @k() threads 128 shared 232449 {
  warp.return
}

// -----

// 2048 threads per multiprocessor
// expected-error@+1 {{warp.kernel @k: 3 blocks of 1024 threads do not fit one multiprocessor (2048 threads)}}
warp.kernel @k() threads 1024 shared 0 min_blocks 3 {
  warp.return
}

// -----

warp.kernel @k(%x: !warp.global<i4>, %i: i32) threads 32 shared 0 {
  // expected-error@+1 {{warp.load: cannot move elements of type i4; use f16, bf16, f32, f64, i1, i8, i16, i32, i64}}
  %v = warp.load %x[%i] : !warp.global<i4> -> i4
  warp.return
}

// -----

warp.kernel @k(%x: !warp.global<f32>, %i: i32, %v: i64) threads 32 shared 0 {
  // expected-error@+1 {{warp.store: the pointer is to f32, but the value is i64}}
  warp.store %v, %x[%i] : i64, !warp.global<f32>
  warp.return
}

// -----

warp.kernel @k(%m: i32) threads 256 shared 0 {
  // expected-error@+1 {{warp.barrier_arrive: 48 threads; give a multiple of 32}}
  warp.barrier_arrive %m threads 48
  warp.return
}

// -----

warp.kernel @k(%m: i32) threads 32 shared 0 {
  %v = arith.constant dense<0.0> : vector<2xf32>
  // expected-error@+1 {{warp.shuffle: lanes differ in the bits 1 to 31, not 32}}
  %r = warp.shuffle %v xor 32 : vector<2xf32>
  warp.return
}

// -----

warp.kernel @k(%m: i32) threads 32 shared 0 {
  %v = arith.constant dense<0> : vector<2xi4>
  // expected-error@+1 {{warp.shared_store: cannot exchange elements of type i4; use f16, bf16, f32, f64, i8, i16, i32, i64}}
  warp.shared_store %v to [%m] : vector<2xi4>
  warp.return
}

// -----

warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 32 shared 0 {
  %v = arith.constant dense<0.0> : vector<4xf32>
  %i = arith.constant dense<0> : vector<2xi32>
  %b = arith.constant dense<1> : vector<2xi1>
  // expected-error@+1 {{warp.scatter: 2 stores of 1 take 2 elements, not vector<4xf32>}}
  warp.scatter %v, %x[%i] if %b width 1 : vector<4xf32>, !warp.global<f32>, vector<2xi32>, vector<2xi1>
  warp.return
}

// -----

// threads side by side fill a row
warp.kernel @k(%x: !warp.global<f32>, %m: i32) threads 256 shared 0 {
  // expected-error@+1 {{no such fragment: 256 threads of 4 elements, 32 side by side, do not fill rows of 64}}
  %f = warp.fragment_index "cols" <blocked 32x64 threads 256 across 32 width 4> : vector<2xi32>
  warp.return
}
