// RUN: stepwell-opt %s -p 'stepwell-convert-scf-to-cf,stepwell-convert-kernel-to-llvm' | filecheck %s

// CHECK: builtin.module attributes {stepwell.level = "llvm"
builtin.module attributes {stepwell.level = "kernel", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  // CHECK-NEXT: llvm.func @k(%p: !llvm.ptr, %n: i64) attributes {stepwell.kernel}
  // CHECK-NEXT:   %c0 = llvm.mlir.constant(0) : i64
  // CHECK-NEXT:   %c1 = llvm.mlir.constant(1) : i64
  // CHECK-NEXT:   %z = llvm.mlir.constant(dense<0.000000e+00> : vector<8xf32>) : vector<8xf32>
  // CHECK-NEXT:   llvm.br ^[[HEAD:bb[0-9]+]](%c0, %z : i64, vector<8xf32>)
  // CHECK-NEXT: ^[[HEAD]](%i: i64, %acc: vector<8xf32>):
  // CHECK-NEXT:   [[MORE:%[0-9a-z]+]] = llvm.icmp "slt" %i, %n : i64
  // CHECK-NEXT:   llvm.cond_br [[MORE]], ^[[BODY:bb[0-9]+]], ^[[END:bb[0-9]+]]
  // CHECK-NEXT: ^[[BODY]]:
  // CHECK-NEXT:   %v = llvm.load %p {alignment = 4 : i64} : !llvm.ptr -> f32
  // CHECK:        %b = llvm.shufflevector {{.*}} [0, 0, 0, 0, 0, 0, 0, 0] : vector<1xf32>
  // CHECK-NEXT:   %s = llvm.call_intrinsic "llvm.fma"(%b, %b, %acc) : (vector<8xf32>, vector<8xf32>, vector<8xf32>) -> vector<8xf32>
  // CHECK-NEXT:   [[NEXT:%[0-9a-z]+]] = llvm.add %i, %c1 : i64
  // CHECK-NEXT:   llvm.br ^[[HEAD]]([[NEXT]], %s : i64, vector<8xf32>)
  // CHECK-NEXT: ^[[END]]:
  // CHECK-NEXT:   llvm.store %acc, %p {alignment = 4 : i64} : vector<8xf32>, !llvm.ptr
  // CHECK-NEXT:   llvm.return
  func.func @k(%p: !llvm.ptr, %n: index) attributes {stepwell.kernel} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %z = arith.constant dense<0.0> : vector<8xf32>
    %r = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %z) -> (vector<8xf32>) {
      %v = llvm.load %p {alignment = 4 : i64} : !llvm.ptr -> f32
      %b = vector.broadcast %v : f32 to vector<8xf32>
      %s = math.fma %b, %b, %acc : vector<8xf32>
      scf.yield %s : vector<8xf32>
    }
    llvm.store %r, %p {alignment = 4 : i64} : vector<8xf32>, !llvm.ptr
    func.return
  }
}
