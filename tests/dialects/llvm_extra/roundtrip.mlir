// RUN: stepwell-opt %s | stepwell-opt | filecheck %s
// RUN: stepwell-opt %s --print-op-generic | stepwell-opt | filecheck %s

// CHECK-LABEL: llvm.func @all
llvm.func @all(%p: !llvm.ptr, %s: !llvm.ptr<3>, %v: vector<8xf32>, %m: vector<8xi1>, %i: i64, %x: f32) {
  // CHECK: %poison = llvm_extra.poison : vector<8xf32>
  %poison = llvm_extra.poison : vector<8xf32>
  // CHECK-NEXT: %e = llvm_extra.extractelement %v[%i : i64] : vector<8xf32> -> f32
  %e = llvm_extra.extractelement %v[%i : i64] : vector<8xf32> -> f32
  // CHECK-NEXT: %c = llvm_extra.fcmp "ogt" %v, %poison : vector<8xf32> -> vector<8xi1>
  %c = llvm_extra.fcmp "ogt" %v, %poison : vector<8xf32> -> vector<8xi1>
  // CHECK-NEXT: %chosen = llvm_extra.select %c, %v, %poison : vector<8xi1>, vector<8xf32>
  %chosen = llvm_extra.select %c, %v, %poison : vector<8xi1>, vector<8xf32>
  // CHECK-NEXT: %g = llvm_extra.addrspacecast %s : !llvm.ptr<3> to !llvm.ptr
  %g = llvm_extra.addrspacecast %s : !llvm.ptr<3> to !llvm.ptr
  // CHECK-NEXT: %si = llvm_extra.fptosi %x : f32 to i32
  %si = llvm_extra.fptosi %x : f32 to i32
  // CHECK-NEXT: %ui = llvm_extra.fptoui %x : f32 to i32
  %ui = llvm_extra.fptoui %x : f32 to i32
  // CHECK-NEXT: %f = llvm_extra.uitofp %ui : i32 to f32
  %f = llvm_extra.uitofp %ui : i32 to f32
  // CHECK-NEXT: %l = llvm_extra.masked_load %p, %m, %v align 4 : i64 : !llvm.ptr, vector<8xi1>, vector<8xf32>
  %l = llvm_extra.masked_load %p, %m, %v align 4 : i64 : !llvm.ptr, vector<8xi1>, vector<8xf32>
  // CHECK-NEXT: llvm_extra.masked_store %l, %p, %m align 4 : i64 : vector<8xf32>, !llvm.ptr, vector<8xi1>
  llvm_extra.masked_store %l, %p, %m align 4 : i64 : vector<8xf32>, !llvm.ptr, vector<8xi1>
  // CHECK-NEXT: %old = llvm_extra.atomicrmw "add" "acq_rel" scope "device" %p, %i : !llvm.ptr, i64
  %old = llvm_extra.atomicrmw "add" "acq_rel" scope "device" %p, %i : !llvm.ptr, i64
  // CHECK-NEXT: llvm_extra.fence "seq_cst"
  llvm_extra.fence "seq_cst"
  llvm.return
}
