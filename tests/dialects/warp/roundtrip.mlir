// RUN: stepwell-opt %s | stepwell-opt | filecheck %s
// RUN: stepwell-opt %s --print-op-generic | stepwell-opt | filecheck %s

builtin.module attributes {stepwell.level = "kernel", stepwell.target = "sm_90a"} {
  // CHECK: warp.kernel @k(%{{.*}}: !warp.global<f32>, %{{.*}}: !warp.global<f16>, %{{.*}}: i32) threads 256 shared 1024 min_blocks 2 attributes {note = 1 : i32} {
  warp.kernel @k(%x: !warp.global<f32>, %y: !warp.global<f16>, %m: i32) threads 256 shared 1024 min_blocks 2 attributes {note = 1 : i32} {
    // CHECK: warp.thread_id
    %t = warp.thread_id
    // CHECK: warp.grid_dim
    %g = warp.grid_dim
    // CHECK: warp.block_id
    %b = warp.block_id
    // CHECK: warp.barrier 0 threads 256
    warp.barrier 0 threads 256
    // CHECK: warp.barrier_at %{{.*}} threads 128
    warp.barrier_at %m threads 128
    // CHECK: warp.barrier_arrive %{{.*}} threads 128
    warp.barrier_arrive %m threads 128
    // CHECK: warp.wait_predecessor
    warp.wait_predecessor
    // CHECK: warp.launch_dependents
    warp.launch_dependents
    // CHECK: warp.divide %{{.*}} by(%{{.*}}, %{{.*}}) : i32
    %q = warp.divide %t by(%m, %m) : i32
    // CHECK: warp.fragment_load %{{.*}}[%{{.*}}, %{{.*}}] stride %{{.*}} bounds[%{{.*}}, %{{.*}}] <blocked 32x64 threads 256 width 4> access 4 : !warp.global<f32> -> vector<8xf32>
    %f = warp.fragment_load %x[%t, %t] stride %m bounds[%m, %m] <blocked 32x64 threads 256 width 4> access 4 : !warp.global<f32> -> vector<8xf32>
    // CHECK: warp.fragment_load_row %{{.*}}[%{{.*}}] bounds[%{{.*}}] <blocked 32x64 threads 256 width 4> access 1 : !warp.global<f32> -> vector<4xf32>
    %row = warp.fragment_load_row %x[%t] bounds[%m] <blocked 32x64 threads 256 width 4> access 1 : !warp.global<f32> -> vector<4xf32>
    // CHECK: warp.fragment_store %{{.*}}, %{{.*}}[%{{.*}}, %{{.*}}] stride %{{.*}} bounds[%{{.*}}, %{{.*}}] <wgmma 64x16> access 2 : vector<8xf32>, !warp.global<f32>
    warp.fragment_store %f, %x[%t, %t] stride %m bounds[%m, %m] <wgmma 64x16> access 2 : vector<8xf32>, !warp.global<f32>
    // CHECK: warp.fragment_index "rows" <blocked 32x64 threads 256 width 4> : vector<2xi32>
    %rows = warp.fragment_index "rows" <blocked 32x64 threads 256 width 4> : vector<2xi32>
    // CHECK: warp.fragment_index "cols" <blocked 32x64 threads 256 width 4> : vector<4xi32>
    %cols = warp.fragment_index "cols" <blocked 32x64 threads 256 width 4> : vector<4xi32>
    // CHECK: warp.divide %{{.*}} by(%{{.*}}, %{{.*}}) : vector<2xi32>
    %qs = warp.divide %rows by(%m, %m) : vector<2xi32>
    // CHECK: warp.within %{{.*}} below %{{.*}} : vector<2xi32> -> vector<2xi1>
    %mask = warp.within %qs below %m : vector<2xi32> -> vector<2xi1>
    %fill = arith.constant 0.0 : f32
    // CHECK: warp.gather %{{.*}}[%{{.*}}] if %{{.*}} else %{{.*}} width 1 : !warp.global<f32>, vector<2xi32>, vector<2xi1>, f32 -> vector<2xf32>
    %v = warp.gather %x[%rows] if %mask else %fill width 1 : !warp.global<f32>, vector<2xi32>, vector<2xi1>, f32 -> vector<2xf32>
    // CHECK: warp.shuffle %{{.*}} xor 16 : vector<2xf32>
    %other = warp.shuffle %v xor 16 : vector<2xf32>
    // CHECK: warp.shared_store %{{.*}} to[%{{.*}}] : vector<2xf32>
    warp.shared_store %other to [%t] : vector<2xf32>
    // CHECK: warp.shared_load[%{{.*}}] : vector<2xf32>
    %back = warp.shared_load [%t] : vector<2xf32>
    // CHECK: warp.scatter %{{.*}}, %{{.*}}[%{{.*}}] if %{{.*}} width 1 : vector<2xf32>, !warp.global<f32>, vector<2xi32>, vector<2xi1>
    warp.scatter %back, %x[%rows] if %mask width 1 : vector<2xf32>, !warp.global<f32>, vector<2xi32>, vector<2xi1>
    // CHECK: warp.fragment_index "cols" <blocked 32x64 threads 256 across 8 width 4> : vector<8xi32>
    %far = warp.fragment_index "cols" <blocked 32x64 threads 256 across 8 width 4> : vector<8xi32>
    // CHECK: warp.spread %{{.*}} "rows" <blocked 32x64 threads 256 width 4> : vector<2xf32> -> vector<8xf32>
    %s = warp.spread %v "rows" <blocked 32x64 threads 256 width 4> : vector<2xf32> -> vector<8xf32>
    // CHECK: %[[ONE:.*]] = warp.load %{{.*}}[%{{.*}}] : !warp.global<f32> -> f32
    %one = warp.load %x[%t] : !warp.global<f32> -> f32
    // CHECK: warp.store %[[ONE]], %{{.*}}[%{{.*}}] : f32, !warp.global<f32>
    warp.store %one, %x[%t] : f32, !warp.global<f32>
    // CHECK: warp.return
    warp.return
  }
}
