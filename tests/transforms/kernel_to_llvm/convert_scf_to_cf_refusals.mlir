// RUN: stepwell-opt %s -p 'stepwell-convert-scf-to-cf' --verify-diagnostics

builtin.module attributes {stepwell.level = "kernel", stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"} {
  func.func @k(%x: i1) {
    // expected-error@+1 {{scf.while: has no form by branches here}}
    "scf.while"() ({
      "scf.condition"(%x) : (i1) -> ()
    }, {
      scf.yield
    }) : () -> ()
    func.return
  }
}
