// RUN: stepwell-opt %s -p 'stepwell-convert-kernel-to-llvm' | filecheck %s

// On a CPU a bf16 is an integer of 16 bits.
builtin.module attributes {stepwell.level = "kernel", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  // CHECK-NOT: bf16
  // CHECK:      %v = llvm.load %p {alignment = 2 : i64} : !llvm.ptr -> vector<8xi16>
  // CHECK-NEXT: [[WIDE:%[0-9a-z]+]] = llvm.zext %v : vector<8xi16> to vector<8xi32>
  // CHECK-NEXT: llvm.mlir.constant(dense<16> : vector<8xi32>)
  // CHECK-NEXT: llvm.shl [[WIDE]]
  // CHECK-NEXT: %w = llvm.bitcast {{.*}} : vector<8xi32> to vector<8xf32>
  // CHECK:      llvm.mlir.constant(dense<32767> : vector<8xi32>)
  // CHECK:      llvm_extra.fcmp "uno" %w, %w
  // CHECK:      llvm.mlir.constant(dense<32704> : vector<8xi32>)
  // CHECK:      %n = llvm.trunc {{.*}} : vector<8xi32> to vector<8xi16>
  // CHECK-NEXT: llvm.mlir.constant(49024 : i64) : i16
  // CHECK:      llvm.store %n, %p {alignment = 2 : i64} : vector<8xi16>, !llvm.ptr
  func.func @k(%p: !llvm.ptr) attributes {stepwell.kernel} {
    %v = llvm.load %p {alignment = 2 : i64} : !llvm.ptr -> vector<8xbf16>
    %w = arith.extf %v : vector<8xbf16> to vector<8xf32>
    %n = arith.truncf %w : vector<8xf32> to vector<8xbf16>
    %c = arith.constant -1.0 : bf16
    llvm.store %n, %p {alignment = 2 : i64} : vector<8xbf16>, !llvm.ptr
    func.return
  }
}
