// RUN: stepwell-opt %s -p 'stepwell-convert-kernel-to-llvm' --verify-diagnostics

// A function that LLVM would call a library for has to be expanded before.
builtin.module attributes {stepwell.level = "kernel", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  func.func @k(%x: f32) {
    // expected-error@+1 {{math.erf: has no conversion to the llvm dialect}}
    %y = math.erf %x : f32
    func.return
  }
}
