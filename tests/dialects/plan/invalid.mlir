// RUN: stepwell-opt %s --verify-diagnostics -split-input-file

// slices that are live together overlap
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{plan.slice: bytes [0, 256) overlap [0, 256) of another plan.slice that is live at the same time}}
  plan.program @main arena 512 constants 0 {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %a = plan.slice at 0 live [0, 1] : !plan.buffer<64xf32>
    %b = plan.slice at 0 live [1, 2] : !plan.buffer<64xf32>
    plan.launch @k(%x) outs(%a) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
    plan.launch @k(%a) outs(%b) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
    plan.launch @k(%b) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// an offset is not aligned
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main arena 512 constants 0 {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    // expected-error@+1 {{plan.slice: offset 128 is not a multiple of 256: run plan-assign-offsets}}
    %a = plan.slice at 128 live [0, 1] : !plan.buffer<64xf32>
  }
}

// -----

// a lifetime ends too early
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{step 1 (@k): uses a slice that is live [0, 0]: widen it}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %a = plan.slice live [0, 0] : !plan.buffer<64xf32>
    plan.launch @k(%x) outs(%a) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
    plan.launch @k(%a) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// the arena is too small
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{plan.program: arena 256 is too small: 512 bytes are used}}
  plan.program @main arena 256 constants 0 {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %a = plan.slice at 256 live [0, 1] : !plan.buffer<64xf32>
    plan.launch @k(%x) outs(%a) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
    plan.launch @k(%a) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// constants overlap
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{plan.constant: bytes [256, 512) overlap [0, 512) of another plan.constant}}
  plan.program @main arena 0 constants 512 {
    %c = plan.constant dense<1.0> : tensor<128xf32> at 0 : !plan.buffer<128xf32>
    %d = plan.constant dense<1.0> : tensor<64xf32> at 256 : !plan.buffer<64xf32>
  }
}

// -----

// offsets are missing
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{plan.slice: has no offset in a program with `arena`: run plan-assign-offsets}}
  plan.program @main arena 256 constants 0 {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %a = plan.slice live [0, 1] : !plan.buffer<64xf32>
    plan.launch @k(%x) outs(%a) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
    plan.launch @k(%a) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// a slice is read before it is written
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{step 0 (@k): reads a slice live [0, 0] before any step has written it}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %a = plan.slice live [0, 0] : !plan.buffer<64xf32>
    plan.launch @k(%a) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// an input is written
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{step 0 (@k): writes the input "x", which is read-only}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    plan.launch @k(%y) outs(%x) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// a step reads what it writes
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{step 1 (@k): reads and writes a slice live [0, 1]: use two slices}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %a = plan.slice live [0, 1] : !plan.buffer<64xf32>
    plan.launch @k(%x) outs(%a) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
    plan.launch @k(%a) outs(%a) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
    plan.launch @k(%a) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// an output is never written
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{plan.binding: no step writes the output "y"}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
  }
}

// -----

// two bindings have one name
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{plan.binding: two bindings are called "x"}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %z = plan.binding "x" input : !plan.buffer<64xf32>
  }
}

// -----

// a launch after a copy
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{plan.launch @k: stands after a plan.copy: copies come last}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %z = plan.binding "z" output : !plan.buffer<64xf32>
    plan.copy %x to %z : !plan.buffer<64xf32> to !plan.buffer<64xf32>
    plan.launch @k(%x) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// there is no such kernel
builtin.module attributes {stepwell.level = "kernel"} {
  // expected-error@+1 {{plan.launch @k: no kernel of this name stands beside the program}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    plan.launch @k(%x) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// foreign ops
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{plan.program: arith.addf has no place here: plan ops and arith.constant only}}
  plan.program @main {
    %0 = arith.constant 1.0 : f32
    %1 = arith.addf %0, %0 : f32
  }
}

// -----

// no writes
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    // expected-error@+1 {{plan.launch @k: writes nothing: give outs (..) or writes [..]}}
    plan.launch @k(%x) : (!plan.buffer<64xf32>)
  }
}

// -----

// both kinds of effects
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %z = plan.binding "z" output : !plan.buffer<64xf32>
    // expected-error@+1 {{plan.launch @k: give either outs (..) or both reads [..] and writes [..]}}
    plan.launch @k(%x, %z) outs(%y) reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// an effect on a number
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{memory comes from plan.binding, plan.constant or plan.slice only}}
  plan.program @main {
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %n = arith.constant 1 : i32
    // expected-error@+1 {{plan.launch @k: reads [0] is not a memory argument}}
    plan.launch @k(%n, %y) reads [0] writes [1] : (i32, !plan.buffer<64xf32>)
  }
}

// -----

// a view of another size
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    // expected-error@+1 {{plan.view: !plan.buffer<64xf32> and !plan.buffer<32xf32> differ in the number of elements: give an offset for a part}}
    %v = plan.view %x : !plan.buffer<64xf32> -> !plan.buffer<32xf32>
  }
}

// -----

// a view beyond the end
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    // expected-error@+1 {{plan.view: ends at byte 288 of a buffer of 256 bytes}}
    %v = plan.view %x offset 40 : !plan.buffer<64xf32> -> !plan.buffer<32xf32>
  }
}

// -----

// a view of another type
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    // expected-error@+1 {{plan.view: changes the element type from f32 to i32}}
    %v = plan.view %x : !plan.buffer<64xf32> -> !plan.buffer<64xi32>
  }
}

// -----

// a window of the wrong shape
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %i = plan.binding "i" input : !plan.buffer<1x4x4x8xf32>
    // expected-error@+1 {{plan.window: !plan.buffer<1x4x4x8xf32> gives !plan.window<4x9x8x..>, not !plan.window<16x9x8xf32>}}
    %v = plan.window %i kernel [3, 3] strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] fill 0.0 : f32 : !plan.buffer<1x4x4x8xf32> -> !plan.window<16x9x8xf32>
  }
}

// -----

// a window that does not fit
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %i = plan.binding "i" input : !plan.buffer<1x2x2x8xf32>
    // expected-error@+1 {{plan.window: kernel [3, 3] does not fit into the padded [2, 2]}}
    %v = plan.window %i kernel [3, 3] strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] fill 0.0 : f32 : !plan.buffer<1x2x2x8xf32> -> !plan.window<1x9x8xf32>
  }
}

// -----

// tensor map: rows
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %i = plan.binding "i" input : !plan.buffer<64x6xf16>
    // expected-error@+1 {{plan.tensor_map: a row stride of 12 bytes is not a multiple of 16: pad the rows or copy another way}}
    %m = plan.tensor_map tiled %i box [64, 8] : !plan.buffer<64x6xf16>
  }
}

// -----

// tensor map: swizzle
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %i = plan.binding "i" input : !plan.buffer<64x64xf32>
    // expected-error@+1 {{plan.tensor_map: the innermost box extent takes 256 bytes, more than the swizzle span 128}}
    %m = plan.tensor_map tiled %i box [64, 64] swizzle 128 : !plan.buffer<64x64xf32>
  }
}

// -----

// tensor map: box
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %i = plan.binding "i" input : !plan.buffer<64x64xf32>
    // expected-error@+1 {{plan.tensor_map: box [512, 32]: one extent per dimension, each in 1..256}}
    %m = plan.tensor_map tiled %i box [512, 32] : !plan.buffer<64x64xf32>
  }
}

// -----

// tensor map: corners
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %i = plan.binding "i" input : !plan.buffer<1x4x4x8xf32>
    // expected-error@+1 {{plan.tensor_map: im2col corners [-200, 0]: 2 numbers in [-128, 127]}}
    %m = plan.tensor_map im2col %i box [64, 8] lower [-200, 0] upper [0, 0] : !plan.buffer<1x4x4x8xf32>
  }
}

// -----

// pointer table: rank
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    // expected-error@+1 {{plan.pointer_table: a buffer is [M, K] or [M, T, K] and contiguous, got !plan.buffer<64xf32>}}
    %t = plan.pointer_table %x rows 4 : !plan.buffer<64xf32>
  }
}

// -----

// a kernel's threads
builtin.module attributes {stepwell.level = "kernel"} {
  warp.kernel @k(%a: !warp.global<f32>, %b: !warp.global<f32>) threads 64 shared 128 {
    warp.return
  }
  // expected-error@+1 {{plan.launch @k: block [32, 1, 1], the kernel is made for 64 threads}}
  plan.program @main {
    %g1 = arith.constant 1 : i32
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    plan.launch @k(%x, %y) grid %g1 block [32, 1, 1] shared 128 reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>)
  }
}

// -----

// a kernel's shared memory
builtin.module attributes {stepwell.level = "kernel"} {
  warp.kernel @k(%a: !warp.global<f32>, %b: !warp.global<f32>) threads 64 shared 128 {
    warp.return
  }
  // expected-error@+1 {{plan.launch @k: shared 0, the kernel uses 128 bytes}}
  plan.program @main {
    %g1 = arith.constant 1 : i32
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    plan.launch @k(%x, %y) grid %g1 block [64, 1, 1] reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>)
  }
}

// -----

// the number of arguments
builtin.module attributes {stepwell.level = "kernel"} {
  warp.kernel @k(%a: !warp.global<f32>, %b: !warp.global<f32>) threads 64 shared 128 {
    warp.return
  }
  // expected-error@+1 {{plan.launch @k: 3 arguments for a kernel with 2 parameters}}
  plan.program @main {
    %g1 = arith.constant 1 : i32
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    plan.launch @k(%x, %y, %y) grid %g1 block [64, 1, 1] shared 128 reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>, !plan.buffer<64xf32>)
  }
}

// -----

// the kind of an argument
builtin.module attributes {stepwell.level = "kernel"} {
  warp.kernel @k(%a: !warp.global<f32>, %b: !warp.global<f32>) threads 64 shared 128 {
    warp.return
  }
  // expected-error@+1 {{plan.launch @k: argument 0 is a window (!plan.window<16x1x8xf32>), the kernel takes a global pointer}}
  plan.program @main {
    %g1 = arith.constant 1 : i32
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %i = plan.binding "i" input : !plan.buffer<1x4x4x8xf32>
    %w = plan.window %i kernel [1, 1] strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] fill 0.0 : f32 : !plan.buffer<1x4x4x8xf32> -> !plan.window<16x1x8xf32>
    plan.launch @k(%w, %y) grid %g1 block [64, 1, 1] shared 128 reads [0] writes [1] : (!plan.window<16x1x8xf32>, !plan.buffer<64xf32>)
  }
}

// -----

// the tensor map that a kernel relies on
builtin.module attributes {stepwell.level = "kernel"} {
  warp.kernel @k(%a: !hopper.tensor_map<tiled f32 [32, 64] swizzle 128>, %b: !warp.global<f32>) threads 64 shared 128 {
    warp.return
  }
  // expected-error@+1 {{plan.launch @k: argument 0: the map is ('tiled', [32, 32], 128) (kind, box innermost first, swizzle), the kernel relies on ('tiled', [32, 64], 128)}}
  plan.program @main {
    %g1 = arith.constant 1 : i32
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %i = plan.binding "i" input : !plan.buffer<64x64xf32>
    %m = plan.tensor_map tiled %i box [32, 32] swizzle 128 : !plan.buffer<64x64xf32>
    plan.launch @k(%m, %y) grid %g1 block [64, 1, 1] shared 128 reads [0] writes [1] : (!plan.tensor_map, !plan.buffer<64xf32>)
  }
}

// -----

// an output is read before it is written
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{step 0 (@k): reads the output "y" before any step has written it}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %z = plan.binding "z" output : !plan.buffer<64xf32>
    plan.launch @k(%y) outs(%z) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
    plan.launch @k(%x) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// a view of an output is read before it is written
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{step 0 (@k): reads the output "y" before any step has written it}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %z = plan.binding "z" output : !plan.buffer<64xf32>
    %v = plan.view %y : !plan.buffer<64xf32> -> !plan.buffer<8x8xf32>
    plan.launch @k(%v) outs(%z) : (!plan.buffer<8x8xf32>) outs(!plan.buffer<64xf32>)
    plan.launch @k(%x) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// a step reads the output that it writes
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{step 1 (@k): reads and writes the output "y": use two slices}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    plan.launch @k(%x) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
    plan.launch @k(%y) outs(%y) : (!plan.buffer<64xf32>) outs(!plan.buffer<64xf32>)
  }
}

// -----

// an input is written by index
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  // expected-error@+1 {{step 0 (@k): writes the input "x", which is read-only}}
  plan.program @main {
    %t4 = arith.constant 4 : i64
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    plan.launch @k(%y, %x) tiles %t4 reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>)
  }
}

// -----

// tensor map: a corner just beyond the range
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %i = plan.binding "i" input : !plan.buffer<1x4x4x8xf32>
    // expected-error@+1 {{plan.tensor_map: im2col corners [-129, 0]: 2 numbers in [-128, 127]}}
    %m = plan.tensor_map im2col %i box [64, 8] lower [-129, 0] upper [0, 0] : !plan.buffer<1x4x4x8xf32>
  }
}

// -----

// tensor map: a corner just beyond the range
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %i = plan.binding "i" input : !plan.buffer<1x4x4x8xf32>
    // expected-error@+1 {{plan.tensor_map: im2col corners [0, 128]: 2 numbers in [-128, 127]}}
    %m = plan.tensor_map im2col %i box [64, 8] lower [0, 0] upper [0, 128] : !plan.buffer<1x4x4x8xf32>
  }
}

// -----

// tensor map: a corner just beyond the range of three dimensions
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %i = plan.binding "i" input : !plan.buffer<1x4x4x4x8xf32>
    // expected-error@+1 {{plan.tensor_map: im2col corners [-17, 0, 0]: 3 numbers in [-16, 15]}}
    %m = plan.tensor_map im2col %i box [64, 8] lower [-17, 0, 0] upper [0, 0, 0] : !plan.buffer<1x4x4x4x8xf32>
  }
}

// -----

// tensor map: a corner just beyond the range of one dimension
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %i = plan.binding "i" input : !plan.buffer<1x4x8xf32>
    // expected-error@+1 {{plan.tensor_map: im2col corners [-32769]: 1 numbers in [-32768, 32767]}}
    %m = plan.tensor_map im2col %i box [64, 8] lower [-32769] upper [0] : !plan.buffer<1x4x8xf32>
  }
}

// -----

// a grain is at least one tile
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %t4 = arith.constant 4 : i64
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    // expected-error@+1 {{plan.launch @k: grain is at least 1 and stands beside tiles}}
    plan.launch @k(%x, %y) tiles %t4 grain 0 reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>)
  }
}

// -----

// a dim that is not there
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64x8xf32>
    %y = plan.binding "y" output : !plan.buffer<64x8xf32>

    // expected-error@+1 {{plan.extent: there is no dim 2: the rank is 2}}
    %m = plan.extent %x[2] : !plan.buffer<64x8xf32> -> i32
    plan.copy %x to %y : !plan.buffer<64x8xf32> to !plan.buffer<64x8xf32>
  }
}

// -----

// a stride that is not there
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64x8xf32>
    %y = plan.binding "y" output : !plan.buffer<64x8xf32>

    // expected-error@+1 {{plan.stride: there is no dim -1: the rank is 2}}
    %m = plan.stride %x[-1] : !plan.buffer<64x8xf32> -> i32
    plan.copy %x to %y : !plan.buffer<64x8xf32> to !plan.buffer<64x8xf32>
  }
}

// -----

// a number of another width
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64x8xf32>
    %y = plan.binding "y" output : !plan.buffer<64x8xf32>

    // expected-error@+1 {{plan.extent: a number of a launch is i32 or i64, here i16}}
    %m = plan.extent %x[0] : !plan.buffer<64x8xf32> -> i16
    plan.copy %x to %y : !plan.buffer<64x8xf32> to !plan.buffer<64x8xf32>
  }
}

// -----

// a division by nothing
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64x8xf32>
    %y = plan.binding "y" output : !plan.buffer<64x8xf32>
    %m = plan.extent %x[0] : !plan.buffer<64x8xf32> -> i32
    // expected-error@+1 {{plan.ceil_div: divides by 0}}
    %t = plan.ceil_div %m, 0 : i32
    plan.copy %x to %y : !plan.buffer<64x8xf32> to !plan.buffer<64x8xf32>
  }
}

// -----

// a division by an extent of nothing
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64x8xf32>
    %y = plan.binding "y" output : !plan.buffer<64x8xf32>
    %z = arith.constant 0 : i32
    %m = plan.extent %x[0] : !plan.buffer<64x8xf32> -> i32
    // expected-error@+1 {{plan.floor_div: divides by 0}}
    %t = plan.floor_div %m, %z : i32
    plan.copy %x to %y : !plan.buffer<64x8xf32> to !plan.buffer<64x8xf32>
  }
}

// -----

// a magic number for nothing
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64x8xf32>
    %y = plan.binding "y" output : !plan.buffer<64x8xf32>
    %z = arith.constant 0 : i32
    // expected-error@+1 {{plan.magic_shift: cannot divide by 0}}
    %t = plan.magic_shift %z
    plan.copy %x to %y : !plan.buffer<64x8xf32> to !plan.buffer<64x8xf32>
  }
}

// -----

// a grid of nothing
builtin.module attributes {stepwell.level = "kernel"} {
  func.func private @k() -> ()
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %m = plan.extent %x[0] : !plan.buffer<64xf32> -> i32
    %blocks = plan.floor_div %m, 65 : i32
    // expected-error@+1 {{plan.launch @k: a grid of 0 blocks: at least 1, less than 2**31}}
    plan.launch @k(%x, %y) grid %blocks block [64, 1, 1] reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>)
  }
}

// -----

// a window's numbers
builtin.module attributes {stepwell.level = "kernel"} {
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<1x4x4x8xf32>
    %y = plan.binding "y" output : !plan.buffer<1x4x4x8xf32>
    %w = plan.window %x kernel [1, 1] strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] fill 0.0 : f32 : !plan.buffer<1x4x4x8xf32> -> !plan.window<16x1x8xf32>
    // expected-error@+1 {{plan.geometry: there is no dim 2: the rank is 2}}
    %t = plan.geometry %w strides[2] : !plan.window<16x1x8xf32> -> i32
    plan.copy %x to %y : !plan.buffer<1x4x4x8xf32> to !plan.buffer<1x4x4x8xf32>
  }
}

// -----

// a number of another width
builtin.module attributes {stepwell.level = "kernel"} {
  warp.kernel @k(%a: !warp.global<f32>, %b: !warp.global<f32>, %n: i32) threads 64 shared 0 {
    warp.return
  }
  // expected-error@+1 {{plan.launch @k: argument 2 is an i64, the kernel takes an i32}}
  plan.program @main {
    %x = plan.binding "x" input : !plan.buffer<64xf32>
    %y = plan.binding "y" output : !plan.buffer<64xf32>
    %n = plan.extent %x[0] : !plan.buffer<64xf32> -> i64
    plan.launch @k(%x, %y, %n) block [64, 1, 1] reads [0] writes [1] : (!plan.buffer<64xf32>, !plan.buffer<64xf32>, i64)
  }
}
