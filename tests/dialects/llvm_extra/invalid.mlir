// RUN: stepwell-opt %s --verify-diagnostics -split-input-file

llvm.func @f(%v: vector<8xf32>, %i: i64) {
  // expected-error@+1 {{the result is f64, the vector holds f32: give the result that type}}
  %e = llvm_extra.extractelement %v[%i : i64] : vector<8xf32> -> f64
  llvm.return
}

// -----

llvm.func @f(%v: vector<8xf32>) {
  // expected-error@+1 {{unknown predicate 'gt': use one of oeq, ogt}}
  %c = llvm_extra.fcmp "gt" %v, %v : vector<8xf32> -> vector<8xi1>
  llvm.return
}

// -----

llvm.func @f(%v: vector<8xf32>) {
  // expected-error@+1 {{the result must be i1 per element, not i1}}
  %c = llvm_extra.fcmp "ogt" %v, %v : vector<8xf32> -> i1
  llvm.return
}

// -----

llvm.func @f(%v: vector<8xf32>, %m: vector<4xi1>) {
  // expected-error@+1 {{it must be i1, or i1 per element of vector<8xf32>}}
  %c = llvm_extra.select %m, %v, %v : vector<4xi1>, vector<8xf32>
  llvm.return
}

// -----

llvm.func @f(%v: vector<8xf32>) {
  // expected-error@+1 {{differ in length: cast to as many elements}}
  %c = llvm_extra.fptosi %v : vector<8xf32> to vector<4xi32>
  llvm.return
}

// -----

llvm.func @f(%p: !llvm.ptr, %v: vector<8xf32>, %m: vector<4xi1>) {
  // expected-error@+1 {{it must hold one i1 per element of vector<8xf32>}}
  llvm_extra.masked_store %v, %p, %m align 4 : i64 : vector<8xf32>, !llvm.ptr, vector<4xi1>
  llvm.return
}

// -----

llvm.func @f(%p: !llvm.ptr, %i: i64) {
  // expected-error@+1 {{unknown kind 'mul': use one of xchg, add}}
  %o = llvm_extra.atomicrmw "mul" "acq_rel" %p, %i : !llvm.ptr, i64
  llvm.return
}

// -----

llvm.func @f(%p: !llvm.ptr, %i: i64) {
  // expected-error@+1 {{unknown ordering 'relaxed': use one of monotonic}}
  %o = llvm_extra.atomicrmw "add" "relaxed" %p, %i : !llvm.ptr, i64
  llvm.return
}

// -----

llvm.func @f() {
  // expected-error@+1 {{a monotonic fence orders nothing}}
  llvm_extra.fence "monotonic"
  llvm.return
}
