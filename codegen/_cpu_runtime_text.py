"""The inner part of the native runtime as LLVM text: system calls, waiting, taking part. What it does stands in `cpu_runtime`, which puts the
numbers in."""

SYSTEM = """
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.ldmxcsr(ptr)
declare void @llvm.x86.sse.stmxcsr(ptr)
declare i64 @llvm.readcyclecounter()
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)

define internal i64 @stepwell_system(i64 %call, i64 %a, i64 %b, i64 %c, i64 %d) noinline nounwind {
  %result = call i64 asm sideeffect "syscall", "={rax},{rax},{rdi},{rsi},{rdx},{r10},~{rcx},~{r11},~{memory}"(i64 %call, i64 %a, i64 %b, i64 %c, i64 %d)
  ret i64 %result
}

define internal i32 @stepwell_enter_float_state() nounwind {
  %word = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %word)
  %old = load i32, ptr %word, align 4
  store i32 FLOAT_STATE, ptr %word, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %word)
  ret i32 %old
}

define internal void @stepwell_leave_float_state(i32 %old) nounwind {
  %word = alloca i32, align 4
  store i32 %old, ptr %word, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %word)
  ret void
}

; one turn of a wait inside a run
define internal void @stepwell_pause(i64 %turns) nounwind {
  call void @llvm.x86.sse2.pause()
  %patient = icmp ult i64 %turns, PATIENCE
  br i1 %patient, label %done, label %yield
yield:
  %ignored = call i64 @stepwell_system(i64 SYS_YIELD, i64 0, i64 0, i64 0, i64 0)
  br label %done
done:
  ret void
}

define internal void @stepwell_copy(ptr %rows, i64 %n) nounwind {
entry:
  %any = icmp ugt i64 %n, 0
  br i1 %any, label %row, label %done
row:
  %i = phi i64 [ 0, %entry ], [ %next, %row ]
  %target_at = getelementptr [3 x i64], ptr %rows, i64 %i
  %source_at = getelementptr i64, ptr %target_at, i64 1
  %bytes_at = getelementptr i64, ptr %target_at, i64 2
  %target = load ptr, ptr %target_at, align 8
  %source = load ptr, ptr %source_at, align 8
  %bytes = load i64, ptr %bytes_at, align 8
  call void @llvm.memmove.p0.p0.i64(ptr %target, ptr %source, i64 %bytes, i1 false)
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %row, label %done
done:
  ret void
}
"""

WAITING = """
; return when the epoch differs from %seen: spin for %budget cycles, then sleep. The cycles waited.
define internal i64 @stepwell_await(ptr %ctx, i32 %seen, i64 %budget) nounwind {
entry:
  %word = getelementptr i8, ptr %ctx, i64 80
  %parked = getelementptr i8, ptr %ctx, i64 320
  %begin = call i64 @llvm.readcyclecounter()
  br label %spin
spin:
  %now = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %now, %seen
  br i1 %same, label %pause, label %done
pause:
  call void @llvm.x86.sse2.pause()
  %cycles = call i64 @llvm.readcyclecounter()
  %spent = sub i64 %cycles, %begin
  %more = icmp ult i64 %spent, %budget
  br i1 %more, label %spin, label %park
park:
  %more_parked = atomicrmw add ptr %parked, i32 1 seq_cst
  %address = ptrtoint ptr %word to i64
  %value = zext i32 %seen to i64
  br label %asleep
asleep:
  %ignored = call i64 @stepwell_system(i64 SYS_FUTEX, i64 %address, i64 WAIT, i64 %value, i64 0)
  %after = load atomic i32, ptr %word acquire, align 4
  %still = icmp eq i32 %after, %seen
  br i1 %still, label %asleep, label %woken
woken:
  %fewer_parked = atomicrmw sub ptr %parked, i32 1 seq_cst
  br label %done
done:
  %end = call i64 @llvm.readcyclecounter()
  %waited = sub i64 %end, %begin
  ret i64 %waited
}

; a new epoch; wake those who sleep (the fence orders the epoch before the number of sleepers)
define internal void @stepwell_advance(ptr %ctx) nounwind {
  %word = getelementptr i8, ptr %ctx, i64 80
  %parked = getelementptr i8, ptr %ctx, i64 320
  %old = atomicrmw add ptr %word, i32 1 seq_cst
  fence seq_cst
  %count = load atomic i32, ptr %parked seq_cst, align 4
  %none = icmp eq i32 %count, 0
  br i1 %none, label %done, label %wake
wake:
  %address = ptrtoint ptr %word to i64
  %ignored = call i64 @stepwell_system(i64 SYS_FUTEX, i64 %address, i64 WAKE, i64 EVERYONE, i64 0)
  br label %done
done:
  ret void
}

; keep the workers off the core that the caller is on
define internal void @stepwell_place(ptr %ctx) nounwind {
entry:
  %word = alloca i32, align 4
  %masks_at = getelementptr i8, ptr %ctx, i64 24
  %masks = load i64, ptr %masks_at, align 8
  %any = icmp ne i64 %masks, 0
  br i1 %any, label %where, label %done
where:
  %word_address = ptrtoint ptr %word to i64
  %failed = call i64 @stepwell_system(i64 SYS_GETCPU, i64 %word_address, i64 0, i64 0, i64 0)
  %cpu32 = load i32, ptr %word, align 4
  %cpu = zext i32 %cpu32 to i64
  %rows_at = getelementptr i8, ptr %ctx, i64 40
  %rows = load i64, ptr %rows_at, align 8
  %known = icmp ult i64 %cpu, %rows
  %fine = icmp eq i64 %failed, 0
  %go = and i1 %known, %fine
  br i1 %go, label %compare, label %done
compare:
  %count_at = getelementptr i8, ptr %ctx, i64 388
  %count = load atomic i32, ptr %count_at acquire, align 4
  %workers = zext i32 %count to i64
  %high = shl i64 %workers, 32
  %place = or i64 %high, %cpu
  %last_at = getelementptr i8, ptr %ctx, i64 264
  %last = load i64, ptr %last_at, align 8
  %same = icmp eq i64 %place, %last
  br i1 %same, label %done, label %move
move:
  store i64 %place, ptr %last_at, align 8
  %bytes_at = getelementptr i8, ptr %ctx, i64 32
  %bytes = load i64, ptr %bytes_at, align 8
  %offset = mul i64 %bytes, %cpu
  %mask = add i64 %masks, %offset
  %threads_at = getelementptr i8, ptr %ctx, i64 16
  %threads = load i64, ptr %threads_at, align 8
  %numbers = getelementptr i8, ptr %ctx, i64 448
  br label %worker
worker:
  %i = phi i64 [ 1, %move ], [ %next, %step ]
  %more = icmp ult i64 %i, %threads
  br i1 %more, label %look, label %done
look:
  %index = sub i64 %i, 1
  %number_at = getelementptr i32, ptr %numbers, i64 %index
  %number = load atomic i32, ptr %number_at acquire, align 4
  %there = icmp ne i32 %number, 0
  br i1 %there, label %set, label %step
set:
  %thread = zext i32 %number to i64
  %ignored = call i64 @stepwell_system(i64 SYS_SETAFFINITY, i64 %thread, i64 %bytes, i64 %mask, i64 0)
  br label %step
step:
  %next = add i64 %i, 1
  br label %worker
done:
  ret void
}
"""

WORK = """
; how many of the %left tiles of a record to take
define internal i64 @stepwell_share(i64 %left, i64 %grain, i64 %threads) nounwind {
  %alone = icmp ult i64 %threads, 2
  %parts = shl i64 %threads, 1
  %fair = udiv i64 %left, %parts
  %small = icmp ult i64 %fair, %grain
  %share = select i1 %small, i64 %grain, i64 %fair
  %rest_small_at = add i64 %share, %grain
  %last = icmp ult i64 %left, %rest_small_at
  %all = or i1 %alone, %last
  %taken = select i1 %all, i64 %left, i64 %share
  ret i64 %taken
}

; take part in the run until all its tiles are taken
define internal void @stepwell_work(ptr %ctx) nounwind {
entry:
  %table = load ptr, ptr %ctx, align 8
  %n_at = getelementptr i8, ptr %ctx, i64 8
  %n = load i64, ptr %n_at, align 8
  %threads_at = getelementptr i8, ptr %ctx, i64 16
  %threads = load i64, ptr %threads_at, align 8
  %goal_at = getelementptr i8, ptr %ctx, i64 64
  %base_at = getelementptr i8, ptr %ctx, i64 72
  %next_at = getelementptr i8, ptr %ctx, i64 128
  %done_at = getelementptr i8, ptr %ctx, i64 192
  br label %turn
turn:
  %turns = phi i64 [ 0, %entry ], [ 0, %did ], [ 0, %lost ], [ %more_turns, %wait ]
  %at = phi i64 [ 0, %entry ], [ %k, %did ], [ 0, %lost ], [ %at, %wait ]
  %t = load atomic i64, ptr %next_at acquire, align 8
  %goal = load atomic i64, ptr %goal_at acquire, align 8
  %open = icmp ult i64 %t, %goal
  br i1 %open, label %seek, label %leave
seek:
  %base = load atomic i64, ptr %base_at acquire, align 8
  %p = sub i64 %t, %base
  br label %find
find:
  %k = phi i64 [ %at, %seek ], [ %k_next, %past ]
  %inside = icmp ult i64 %k, %n
  br i1 %inside, label %look, label %lost
look:
  %record = getelementptr [4 x i64], ptr %table, i64 %k
  %end_at = getelementptr i64, ptr %record, i64 2
  %end = load i64, ptr %end_at, align 8
  %in = icmp ult i64 %p, %end
  br i1 %in, label %found, label %past
past:
  %k_next = add i64 %k, 1
  br label %find
found:
  %is_first = icmp eq i64 %k, 0
  %before_at = getelementptr i64, ptr %record, i64 -2
  %own_at = select i1 %is_first, ptr %end_at, ptr %before_at
  %before = load i64, ptr %own_at, align 8
  %start = select i1 %is_first, i64 0, i64 %before
  %is_behind = icmp ult i64 %p, %start
  br i1 %is_behind, label %lost, label %check
check:
  %needed = add i64 %base, %start
  %finished = load atomic i64, ptr %done_at acquire, align 8
  %ready = icmp uge i64 %finished, %needed
  br i1 %ready, label %claim, label %wait
wait:
  call void @stepwell_pause(i64 %turns)
  %more_turns = add i64 %turns, 1
  br label %turn
claim:
  %left = sub i64 %end, %p
  %grain_at = getelementptr i64, ptr %record, i64 3
  %grain = load i64, ptr %grain_at, align 8
  %share = call i64 @stepwell_share(i64 %left, i64 %grain, i64 %threads)
  %t_after = add i64 %t, %share
  %pair = cmpxchg ptr %next_at, i64 %t, i64 %t_after acq_rel monotonic
  %mine = extractvalue { i64, i1 } %pair, 1
  br i1 %mine, label %do, label %lost
lost:
  br label %turn
do:
  %kernel = load i64, ptr %record, align 8
  %slots_at = getelementptr i64, ptr %record, i64 1
  %slots = load ptr, ptr %slots_at, align 8
  %function_at = getelementptr ptr, ptr @stepwell_kernels, i64 %kernel
  %function = load ptr, ptr %function_at, align 8
  %from = sub i64 %p, %start
  %to = add i64 %from, %share
  call void %function(ptr %slots, i64 %from, i64 %to)
  br label %did
did:
  %was_done = atomicrmw add ptr %done_at, i64 %share acq_rel
  br label %turn
leave:
  ret void
}
"""

TEXT = SYSTEM + WAITING + WORK
