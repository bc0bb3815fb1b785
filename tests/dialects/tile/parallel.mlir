// RUN: stepwell-opt %s | filecheck %s

// CHECK: tile.parallel @count(%x: memref<4x3xi32>) -> (%y: memref<4xi32>) for %row below 4 config #tile.config<block = [64], form = loops> {
// CHECK: memref.load %x[%row, %i] : memref<4x3xi32>
// CHECK: scf.if %positive {
builtin.module attributes {stepwell.level = "tile"} {
  tile.parallel @count(%x: memref<4x3xi32>) -> (%y: memref<4xi32>) for %row below 4 config #tile.config<block = [64], form = loops> {
    %zero = arith.constant 0 : index
    %one = arith.constant 1 : index
    %end = arith.constant 3 : index
    %none = arith.constant 0 : i32
    %sum = scf.for %i = %zero to %end step %one iter_args(%total = %none) -> (i32) {
      %v = memref.load %x[%row, %i] : memref<4x3xi32>
      %next = arith.addi %total, %v : i32
      scf.yield %next : i32
    }
    %positive = arith.cmpi sge, %sum, %none : i32
    scf.if %positive {
      memref.store %sum, %y[%row] : memref<4xi32>
    }
  }
}
