// RUN: stepwell-opt %s --verify-diagnostics -split-input-file
// RUN: not stepwell-opt %s -split-input-file 2>&1 | filecheck %s
// RUN: not stepwell-opt %s -p no-such-pass 2>&1 | filecheck %s --check-prefix UNKNOWN

// CHECK: error: {{.*}}errors.mlir: the module is not valid
// CHECK-NEXT: errors.mlir:12:
// UNKNOWN: error: unknown pass 'no-such-pass'

func.func @returns_wrong_type() -> i32 {
  %zero = arith.constant 0 : i64
  // expected-error@+1 {{'func.return' op: Expected arguments to have the same types as the function output types}}
  func.return %zero : i64
}

// -----

func.func @unknown_op() {
  // expected-error@+1 {{Operation func.nonsense is not registered}}
  func.nonsense
  func.return
}

// -----

func.func @calls_nothing(%a: i32) -> i32 {
  // expected-error@below {{could not be found in symbol table}}
  func.call @nowhere(%a) : (i32) -> i32
  func.return %a : i32
}
