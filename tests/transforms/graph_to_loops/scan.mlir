// RUN: stepwell-opt %s -p graph-fuse-single,stepwell-convert-graph-to-linalg,linalg-choose-config,stepwell-convert-linalg-to-tile | filecheck %s
// RUN: stepwell-opt %s --to kernel --arch cpu | filecheck %s --check-prefix CPU
// RUN: stepwell-opt %s --to kernel --arch sm_90a | filecheck %s --check-prefix GPU

// CHECK: tile.parallel @scan(%{{.*}}: memref<3x4xf16>) -> (%{{.*}}: memref<3x4xf16>) for %[[n:.*]] below 3 config #tile.config<block = [{{.*}}], form = loops> {
// CHECK: scf.for %[[i:.*]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args(%[[t:.*]] = %{{.*}}) -> (f32) {
// CHECK: %[[v:.*]] = memref.load %{{.*}}[%[[n]], %[[i]]] : memref<3x4xf16>
// CHECK: %[[w:.*]] = arith.extf %[[v]] : f16 to f32
// CHECK: %[[s:.*]] = arith.addf %[[t]], %[[w]] : f32
// CHECK: memref.store
// CHECK: scf.yield %[[s]] : f32
// CHECK: tile.apply @scan

// CPU: func.func @scan(
// CPU: scf.for
// CPU: scf.for
// CPU: llvm.store

// GPU: warp.kernel @scan
// GPU: warp.wait_predecessor
// GPU: scf.if
// GPU: scf.for
// GPU: warp.store

builtin.module attributes {stepwell.target = "cpu", stepwell.cpu = "x86-64-v3"} {
func.func @main(%x: tensor<3x4xf16>) -> tensor<3x4xf16> {
  %0 = graph.cumulative sum %x dim 1 : tensor<3x4xf16> -> tensor<3x4xf16> loc("scan")
  func.return %0 : tensor<3x4xf16>
}
}
