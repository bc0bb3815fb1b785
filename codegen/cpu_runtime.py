"""The native part of the CPU runtime, as LLVM text that is compiled into every CPU object: threads, barrier, walk over the records.

Exported:  `stepwell_run(ptr ctx, ptr table, i64 n, i64 nthreads, ptr barrier)`  one run; the caller is thread 0
           `stepwell_worker(ptr ctx, ptr table, i64 n, i64 tid, i64 nthreads, ptr barrier)`  body of thread tid >= 1; returns after stop
           `stepwell_stop(ptr ctx)`  lets every worker of `ctx` return
           `stepwell_kernels`  table of pointers to the kernels, in the order of the module

ctx (128 bytes, zeroed, 64-byte aligned): i32 epoch at 0 (one more per run), i32 stop at 4, i32 number of parked workers at 64.
barrier (192 bytes, zeroed, 64-byte aligned): i32 arrived at 0, i32 generation at 64, i32 number of sleepers at 128.
record (32 bytes): i64 kernel number, i64 address of the kernel's slots, i64 tiles, i64 reserved.

A kernel is `void (ptr slots, i64 first, i64 last)`; thread t of n does tiles [tiles*t/n, tiles*(t+1)/n). After each record all threads meet.
Waiting spins for some microseconds and then sleeps in the kernel by a futex (futex(2)): x86-64 Linux system calls as inline assembly, no C
library. Denormals are flushed (they cost 80 times the speed); the caller's floating-point state is restored on return.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

CONTEXT_BYTES = 128
BARRIER_BYTES = 192
RECORD_WORDS = 4
EXPORTS = ("stepwell_run", "stepwell_worker", "stepwell_stop", "stepwell_kernels")

_NUMBERS = MappingProxyType(
    {
        "FUTEX": 202,  # system call number, x86-64 Linux
        "WAIT": 128,  # FUTEX_WAIT | FUTEX_PRIVATE_FLAG
        "WAKE": 129,  # FUTEX_WAKE | FUTEX_PRIVATE_FLAG
        "EVERYONE": 0x7FFFFFFF,
        "SPINS": 4000,  # about 100 us of pauses before sleeping
        "FLUSH": 0x8040,  # MXCSR: flush to zero, denormals are zero (Intel SDM volume 1, 10.2.3)
    }
)

_TEXT = """
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.ldmxcsr(ptr)
declare void @llvm.x86.sse.stmxcsr(ptr)

define internal void @stepwell_sleep(ptr %word, i32 %seen) nounwind {
  %address = ptrtoint ptr %word to i64
  %value = zext i32 %seen to i64
  %result = call i64 asm sideeffect "syscall", "={rax},{rax},{rdi},{rsi},{rdx},{r10},~{rcx},~{r11},~{memory}"(i64 FUTEX, i64 %address, i64 WAIT, i64 %value, i64 0)
  ret void
}

define internal void @stepwell_wake(ptr %word) nounwind {
  %address = ptrtoint ptr %word to i64
  %result = call i64 asm sideeffect "syscall", "={rax},{rax},{rdi},{rsi},{rdx},{r10},~{rcx},~{r11},~{memory}"(i64 FUTEX, i64 %address, i64 WAKE, i64 EVERYONE, i64 0)
  ret void
}

; return when the word at %word differs from %seen; spin first, then sleep, counted in %sleepers
define internal void @stepwell_await(ptr %word, i32 %seen, ptr %sleepers) nounwind {
entry:
  br label %spin
spin:
  %count = phi i32 [ 0, %entry ], [ %next, %pause ]
  %now = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %now, %seen
  br i1 %same, label %pause, label %done
pause:
  call void @llvm.x86.sse2.pause()
  %next = add i32 %count, 1
  %more = icmp ult i32 %next, SPINS
  br i1 %more, label %spin, label %park
park:
  %more_sleepers = atomicrmw add ptr %sleepers, i32 1 seq_cst
  br label %asleep
asleep:
  call void @stepwell_sleep(ptr %word, i32 %seen)
  %after = load atomic i32, ptr %word acquire, align 4
  %still = icmp eq i32 %after, %seen
  br i1 %still, label %asleep, label %woken
woken:
  %fewer_sleepers = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %done
done:
  ret void
}

; add one to the word and wake those who sleep on it (the fence orders the word before the number of sleepers)
define internal void @stepwell_advance(ptr %word, ptr %sleepers) nounwind {
  %old = atomicrmw add ptr %word, i32 1 seq_cst
  fence seq_cst
  %count = load atomic i32, ptr %sleepers seq_cst, align 4
  %none = icmp eq i32 %count, 0
  br i1 %none, label %done, label %wake
wake:
  call void @stepwell_wake(ptr %word)
  br label %done
done:
  ret void
}

define internal void @stepwell_barrier(ptr %barrier, i64 %nthreads) nounwind {
entry:
  %threads = trunc i64 %nthreads to i32
  %alone = icmp ult i32 %threads, 2
  br i1 %alone, label %done, label %meet
meet:
  %generation = getelementptr i8, ptr %barrier, i64 64
  %sleepers = getelementptr i8, ptr %barrier, i64 128
  %seen = load atomic i32, ptr %generation acquire, align 4
  %before = atomicrmw add ptr %barrier, i32 1 acq_rel
  %arrived = add i32 %before, 1
  %last = icmp eq i32 %arrived, %threads
  br i1 %last, label %release, label %wait
release:
  store atomic i32 0, ptr %barrier release, align 4
  call void @stepwell_advance(ptr %generation, ptr %sleepers)
  br label %done
wait:
  call void @stepwell_await(ptr %generation, i32 %seen, ptr %sleepers)
  br label %done
done:
  ret void
}

define internal void @stepwell_walk(ptr %table, i64 %n, i64 %tid, i64 %nthreads, ptr %barrier) nounwind {
entry:
  %any = icmp ugt i64 %n, 0
  %after_tid = add i64 %tid, 1
  br i1 %any, label %step, label %done
step:
  %i = phi i64 [ 0, %entry ], [ %next, %step_end ]
  %record = getelementptr [4 x i64], ptr %table, i64 %i
  %kernel = load i64, ptr %record, align 8
  %slots_at = getelementptr i64, ptr %record, i64 1
  %slots = load ptr, ptr %slots_at, align 8
  %tiles_at = getelementptr i64, ptr %record, i64 2
  %tiles = load i64, ptr %tiles_at, align 8
  %low = mul i64 %tiles, %tid
  %first = udiv i64 %low, %nthreads
  %high = mul i64 %tiles, %after_tid
  %last = udiv i64 %high, %nthreads
  %work = icmp ult i64 %first, %last
  br i1 %work, label %call, label %step_end
call:
  %entry_at = getelementptr ptr, ptr @stepwell_kernels, i64 %kernel
  %function = load ptr, ptr %entry_at, align 8
  call void %function(ptr %slots, i64 %first, i64 %last)
  br label %step_end
step_end:
  call void @stepwell_barrier(ptr %barrier, i64 %nthreads)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %step, label %done
done:
  ret void
}

define internal i32 @stepwell_flush_denormals() nounwind {
  %word = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %word)
  %old = load i32, ptr %word, align 4
  %new = or i32 %old, FLUSH
  store i32 %new, ptr %word, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %word)
  ret i32 %old
}

define internal void @stepwell_restore_state(i32 %old) nounwind {
  %word = alloca i32, align 4
  store i32 %old, ptr %word, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %word)
  ret void
}

define void @stepwell_run(ptr %ctx, ptr %table, i64 %n, i64 %nthreads, ptr %barrier) nounwind {
  %state = call i32 @stepwell_flush_denormals()
  %parked = getelementptr i8, ptr %ctx, i64 64
  call void @stepwell_advance(ptr %ctx, ptr %parked)
  call void @stepwell_walk(ptr %table, i64 %n, i64 0, i64 %nthreads, ptr %barrier)
  call void @stepwell_restore_state(i32 %state)
  ret void
}

define void @stepwell_worker(ptr %ctx, ptr %table, i64 %n, i64 %tid, i64 %nthreads, ptr %barrier) nounwind {
entry:
  %state = call i32 @stepwell_flush_denormals()
  %parked = getelementptr i8, ptr %ctx, i64 64
  %stop_at = getelementptr i8, ptr %ctx, i64 4
  br label %wait
wait:
  %seen = phi i32 [ 0, %entry ], [ %run, %walk ]
  call void @stepwell_await(ptr %ctx, i32 %seen, ptr %parked)
  %run = add i32 %seen, 1
  %stop = load atomic i32, ptr %stop_at acquire, align 4
  %leave = icmp ne i32 %stop, 0
  br i1 %leave, label %done, label %walk
walk:
  call void @stepwell_walk(ptr %table, i64 %n, i64 %tid, i64 %nthreads, ptr %barrier)
  br label %wait
done:
  call void @stepwell_restore_state(i32 %state)
  ret void
}

define void @stepwell_stop(ptr %ctx) nounwind {
  %stop_at = getelementptr i8, ptr %ctx, i64 4
  store atomic i32 1, ptr %stop_at seq_cst, align 4
  %parked = getelementptr i8, ptr %ctx, i64 64
  call void @stepwell_advance(ptr %ctx, ptr %parked)
  ret void
}
"""


def runtime_text(kernels: Sequence[str]) -> str:
    """The runtime and the table of the kernels, which must be defined in the same module."""
    text = _TEXT
    for name, number in _NUMBERS.items():
        text = text.replace(name, str(number))
    entries = ", ".join(f"ptr @{name}" for name in kernels)
    value = f"[{entries}]" if kernels else "zeroinitializer"
    return f"\n@stepwell_kernels = dso_local constant [{len(kernels)} x ptr] {value}, align 8\n{text}"
