// RUN: stepwell-opt %s -p stepwell-convert-hopper-roles-to-scf | filecheck %s
// RUN: stepwell-opt %s -p stepwell-convert-hopper-roles-to-scf,stepwell-convert-hopper-roles-to-scf | filecheck %s

builtin.module attributes {stepwell.level = "kernel", stepwell.target = "sm_90a"} {
  // CHECK: warp.kernel @k
  warp.kernel @k(%bar: i32) threads 384 shared 1024 {
    // CHECK:      %[[T:.*]] = warp.thread_id
    // CHECK:      %[[WG:.*]] = arith.shrui %[[T]]
    // CHECK:      %[[MINE:.*]] = arith.cmpi ult
    // CHECK-NEXT: scf.if %[[MINE]] {
    // CHECK-NEXT:   hopper.set_max_registers "dec" 40
    hopper.role "producer" warpgroups 1 from 0 registers 40 {
      // CHECK:        %[[FIRST:.*]] = arith.cmpi eq
      // CHECK-NEXT:   scf.if %[[FIRST]] {
      // CHECK-NEXT:     hopper.expect_bytes %bar, 1024
      hopper.elect {
        hopper.expect_bytes %bar, 1024
      }
    }
    // CHECK:      } else {
    // CHECK-NEXT:   hopper.set_max_registers "inc" 232
    hopper.role "consumer" warpgroups 2 from 1 registers 232 {
      // CHECK:        %[[ID:.*]] = arith.subi
      %id = hopper.warpgroup_id
      %zero = arith.constant 0 : i32
      // CHECK:        arith.cmpi eq, %[[ID]]
      %one = arith.cmpi eq, %id, %zero : i32
      hopper.arrive %bar if %one
    }
    // CHECK-NOT: hopper.role
    warp.return
  }
}
