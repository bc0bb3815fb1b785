// RUN: stepwell-opt %s -p 'stepwell-convert-kernel-to-llvm' | filecheck %s

// A float of 8 bits is an integer, which becomes f32 by way of f16.
builtin.module attributes {stepwell.level = "kernel", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  // CHECK-NOT: f8E
  // CHECK:      %v = llvm.load %p {alignment = 1 : i64} : !llvm.ptr -> vector<8xi8>
  // CHECK:      llvm.zext %v : vector<8xi8> to vector<8xi16>
  // CHECK:      llvm.bitcast {{.*}} : vector<8xi16> to vector<8xf16>
  // CHECK:      llvm.fpext {{.*}} : vector<8xf16> to vector<8xf32>
  // CHECK:      llvm.mlir.constant(dense<2.560000e+02> : vector<8xf32>)
  // CHECK:      llvm.icmp "eq"
  // CHECK:      llvm_extra.select
  // CHECK:      %u = llvm.load %p {alignment = 1 : i64} : !llvm.ptr -> i8
  // CHECK:      llvm.mlir.constant(8 : i16)
  // CHECK:      llvm.shl
  // CHECK-NEXT: llvm.bitcast {{.*}} : i16 to f16
  // CHECK-NEXT: llvm.fpext
  // CHECK:      llvm.mlir.constant(60 : i64) : i8
  func.func @k(%p: !llvm.ptr) attributes {stepwell.kernel} {
    %v = llvm.load %p {alignment = 1 : i64} : !llvm.ptr -> vector<8xf8E4M3FN>
    %w = arith.extf %v : vector<8xf8E4M3FN> to vector<8xf32>
    %u = llvm.load %p {alignment = 1 : i64} : !llvm.ptr -> f8E5M2
    %x = arith.extf %u : f8E5M2 to f32
    %c = arith.constant 1.0 : f8E5M2
    llvm.store %w, %p {alignment = 4 : i64} : vector<8xf32>, !llvm.ptr
    func.return
  }
}
