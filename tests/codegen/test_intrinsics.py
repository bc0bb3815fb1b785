"""The whitelist: every intrinsic on it selects on the targets that it names, in a process of its own, because some do not fail but abort."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stepwell.codegen.intrinsics import CPU, CUDA, INTRINSICS, Intrinsic, check_name
from stepwell.runtime.errors import UsageError
from stepwell.types.targets import CPU_LEVELS, SM_90A, Target

COMPILE = """
import sys
import llvmlite.binding as llvm
llvm.initialize_all_targets(); llvm.initialize_all_asmprinters()
if sys.argv[1].startswith("nvptx"): llvm.set_option("", "--nvptx-short-ptr")
for part in sys.stdin.read().split("\\n;;;"):
    name, _, text = part.partition("\\n")
    print("begin", name, flush=True)
    module = llvm.parse_assembly(text); module.verify()
    machine = llvm.Target.from_triple(sys.argv[1]).create_target_machine(cpu=sys.argv[2], features=sys.argv[3], opt=3)
    made = machine.emit_assembly(module)
    assert "llvm" not in made.split("selected", 1)[1].replace("$__internal", ""), name
    print("done", name, flush=True)
"""


def function_text(intrinsic: Intrinsic, overload: tuple[str, str], target: Target) -> str:
    """A function that calls the intrinsic on its arguments and keeps the result."""
    of, mangled = overload
    mask = of.replace("float", "i1").replace("i32", "i1")
    types = [{"T": of, "M": mask}.get(t, t) for t in intrinsic.operands]
    result = of if intrinsic.result == "T" else intrinsic.result
    name = f"{intrinsic.name}.{mangled}{intrinsic.suffix}" if intrinsic.overloaded else intrinsic.name
    parameters = ", ".join(f"{t} %a{i}" for i, t in enumerate(types) if i not in intrinsic.immediates)
    values = ", ".join(
        f"{t} {'0' if t != 'i1' else 'false'}" if i in intrinsic.immediates else f"{t} %a{i}"
        for i, t in enumerate(types)
    )
    if "setmaxnreg" in name:
        values = "i32 40"
    space = "addrspace(1) " if target is SM_90A else ""
    keep = "" if result == "void" else f"  store {result} %r, ptr {space}%out\n"
    return (
        f'target datalayout = "{target.data_layout}"\ntarget triple = "{target.triple}"\n'
        f"declare {result} @{name}({', '.join(types)})\n"
        f"define {'ptx_kernel ' if target is SM_90A else ''}void @selected(ptr {space}%out{', ' if parameters else ''}{parameters}) {{\n"
        f"  {'' if result == 'void' else '%r = '}call {result} @{name}({values})\n{keep}  ret void\n}}\n"
    )


def cases(target: Target) -> list[str]:
    found = []
    for intrinsic in INTRINSICS.values():
        if target.family not in intrinsic.targets:
            continue
        whole = intrinsic.name.split(".")[1] in ("smin", "smax", "umin", "umax")
        overloads = (
            [("i32", "i32"), ("<4 x i32>", "v4i32")] if whole else [("float", "f32"), ("<16 x float>", "v16f32")]
        )
        if "masked" in intrinsic.name:
            overloads = [("<16 x float>", "v16f32")]
        for overload in overloads if intrinsic.overloaded else overloads[:1]:
            found.append(f"{intrinsic.name}\n{function_text(intrinsic, overload, target)}")
    return found


@pytest.mark.parametrize("target", [*CPU_LEVELS.values(), SM_90A], ids=lambda t: t.processor)
def test_everything_on_the_list_selects(target: Target) -> None:
    texts = cases(target)
    if target is SM_90A:  # vectors of floats are scalarised by LLVM; approximations need the flag that says so
        texts = [t.replace("call float @llvm.exp2", "call afn float @llvm.exp2").replace("call <16 x float> @llvm.exp2", "call afn <16 x float> @llvm.exp2") for t in texts]  # fmt: skip
    command = [sys.executable, "-c", COMPILE, target.triple, target.processor, target.features]
    ran = subprocess.run(command, input="\n;;;".join(texts), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout.splitlines()[-1:]} {ran.stderr[-2000:]}"
    assert ran.stdout.count("done") == len(texts)


def test_unknown_names_are_refused_with_near_ones() -> None:
    with pytest.raises(UsageError) as caught:
        check_name("llvm.nvvm.barrier.cta.sync.all")
    assert "not whitelisted" in str(caught.value) and "llvm.nvvm.barrier.cta.sync.aligned.all" in str(caught.value)


def test_what_aborts_is_not_on_the_list() -> None:
    """Library functions on the CPU, and on CUDA what has no instruction."""
    for name in ("exp", "log", "log2", "pow", "sin", "cos", "tanh", "tan"):
        assert f"llvm.{name}" not in INTRINSICS
    assert INTRINSICS["llvm.exp2"].targets == (CUDA,) and CPU not in INTRINSICS["llvm.exp2"].targets
