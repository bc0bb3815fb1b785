// RUN: stepwell-opt %s -p canonicalize | filecheck %s
// RUN: stepwell-opt %s -p canonicalize --print-ir-after-change -o %t 2>&1 | filecheck %s --check-prefix AFTER
// RUN: stepwell-opt %s --print-debuginfo | stepwell-opt --print-debuginfo | filecheck %s --check-prefix NAMES
// RUN: stepwell-opt %s --print-pipeline -p 'cse,canonicalize' | filecheck %s --check-prefix PIPELINE

// CHECK-LABEL: @sum
// CHECK: arith.constant 3
// CHECK-NOT: arith.addi
// AFTER: IR Dump After canonicalize
// AFTER-NEXT: builtin.module
// NAMES: arith.addi {{.*}} loc("total")
// PIPELINE: cse,canonicalize
func.func @sum() -> i32 {
  %one = arith.constant 1 : i32 loc("one")
  %two = arith.constant 2 : i32 loc("two")
  %total = arith.addi %one, %two : i32 loc("total")
  func.return %total : i32
}
