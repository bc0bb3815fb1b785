// RUN: not stepwell-opt %s -p stepwell-convert-hopper-roles-to-scf 2>&1 | filecheck %s

// CHECK: @k: hopper.proxy_fence stands between roles that have register budgets
// CHECK: move it before the roles or into one of them
builtin.module attributes {stepwell.level = "kernel", stepwell.target = "sm_90a"} {
  warp.kernel @k(%bar: i32) threads 384 shared 1024 {
    hopper.role "producer" warpgroups 1 from 0 registers 40 {
      hopper.arrive %bar
    }
    hopper.proxy_fence
    hopper.role "consumer" warpgroups 2 from 1 registers 232 {
      hopper.arrive %bar
    }
    warp.return
  }
}
