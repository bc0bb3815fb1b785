"""What the native runtime exports, as LLVM text. What each does stands in `cpu_runtime`, which puts the numbers in."""

CALLS = """
; 0 and the context is taken, or why not
define internal i32 @stepwell_take(ptr %ctx) nounwind {
  %busy_at = getelementptr i8, ptr %ctx, i64 256
  %stop_at = getelementptr i8, ptr %ctx, i64 84
  %old = atomicrmw xchg ptr %busy_at, i32 1 acq_rel
  %free = icmp eq i32 %old, 0
  br i1 %free, label %taken, label %busy
busy:
  ret i32 1
taken:
  %stop = load atomic i32, ptr %stop_at acquire, align 4
  %stopped = icmp ne i32 %stop, 0
  br i1 %stopped, label %closed, label %mine
closed:
  store atomic i32 0, ptr %busy_at release, align 4
  ret i32 2
mine:
  ret i32 0
}

define internal void @stepwell_give(ptr %ctx) nounwind {
  %busy_at = getelementptr i8, ptr %ctx, i64 256
  store atomic i32 0, ptr %busy_at release, align 4
  ret void
}

; how many tiles the first %k records have
define internal i64 @stepwell_tiles(ptr %ctx, i64 %k) nounwind {
  %none = icmp eq i64 %k, 0
  br i1 %none, label %zero, label %some
zero:
  ret i64 0
some:
  %table = load ptr, ptr %ctx, align 8
  %index = sub i64 %k, 1
  %record = getelementptr [4 x i64], ptr %table, i64 %index
  %end_at = getelementptr i64, ptr %record, i64 2
  %end = load i64, ptr %end_at, align 8
  ret i64 %end
}

define internal void @stepwell_walk(ptr %ctx, i64 %first, i64 %last) nounwind {
entry:
  %low = call i64 @stepwell_tiles(ptr %ctx, i64 %first)
  %high = call i64 @stepwell_tiles(ptr %ctx, i64 %last)
  %tiles = sub i64 %high, %low
  %any = icmp ne i64 %tiles, 0
  br i1 %any, label %begin, label %done
begin:
  %goal_at = getelementptr i8, ptr %ctx, i64 64
  %base_at = getelementptr i8, ptr %ctx, i64 72
  %done_at = getelementptr i8, ptr %ctx, i64 192
  %threads_at = getelementptr i8, ptr %ctx, i64 16
  %threads = load i64, ptr %threads_at, align 8
  %old = load atomic i64, ptr %goal_at monotonic, align 8
  %base = sub i64 %old, %low
  %goal = add i64 %old, %tiles
  store atomic i64 %base, ptr %base_at release, align 8
  store atomic i64 %goal, ptr %goal_at release, align 8
  %alone = icmp ult i64 %threads, 2
  br i1 %alone, label %work, label %call
call:
  call void @stepwell_place(ptr %ctx)
  call void @stepwell_advance(ptr %ctx)
  br label %work
work:
  call void @stepwell_work(ptr %ctx)
  br label %check
check:
  %turns = phi i64 [ 0, %work ], [ %more, %wait ]
  %finished = load atomic i64, ptr %done_at acquire, align 8
  %all = icmp uge i64 %finished, %goal
  br i1 %all, label %done, label %wait
wait:
  call void @stepwell_pause(i64 %turns)
  %more = add i64 %turns, 1
  br label %check
done:
  ret void
}

define i32 @stepwell_run(ptr %ctx, i64 %state, i64 %first, i64 %last, ptr %in, i64 %nin, ptr %out, i64 %nout) nounwind {
  %refused = call i32 @stepwell_take(ptr %ctx)
  %mine = icmp eq i32 %refused, 0
  br i1 %mine, label %compare, label %refuse
refuse:
  ret i32 %refused
compare:
  %state_at = getelementptr i8, ptr %ctx, i64 272
  %installed = load i64, ptr %state_at, align 8
  %current = icmp eq i64 %installed, %state
  br i1 %current, label %go, label %other
other:
  call void @stepwell_give(ptr %ctx)
  ret i32 3
go:
  %float_state = call i32 @stepwell_enter_float_state()
  call void @stepwell_copy(ptr %in, i64 %nin)
  call void @stepwell_walk(ptr %ctx, i64 %first, i64 %last)
  call void @stepwell_copy(ptr %out, i64 %nout)
  call void @stepwell_leave_float_state(i32 %float_state)
  call void @stepwell_give(ptr %ctx)
  ret i32 0
}

define i32 @stepwell_install(ptr %ctx, i64 %state, ptr %copies, i64 %n) nounwind {
  %refused = call i32 @stepwell_take(ptr %ctx)
  %mine = icmp eq i32 %refused, 0
  br i1 %mine, label %go, label %refuse
refuse:
  ret i32 %refused
go:
  call void @stepwell_copy(ptr %copies, i64 %n)
  %state_at = getelementptr i8, ptr %ctx, i64 272
  store i64 %state, ptr %state_at, align 8
  call void @stepwell_give(ptr %ctx)
  ret i32 0
}

define i32 @stepwell_stop(ptr %ctx) nounwind {
  %refused = call i32 @stepwell_take(ptr %ctx)
  %mine = icmp eq i32 %refused, 0
  br i1 %mine, label %go, label %refuse
refuse:
  ret i32 %refused
go:
  %stop_at = getelementptr i8, ptr %ctx, i64 84
  store atomic i32 1, ptr %stop_at seq_cst, align 4
  call void @stepwell_advance(ptr %ctx)
  call void @stepwell_give(ptr %ctx)
  ret i32 0
}

; a short time slice for this thread: woken, it does not wait for the end of another's
define internal void @stepwell_shorten_slice() nounwind {
  %attributes = alloca [64 x i8], align 8
  %at = ptrtoint ptr %attributes to i64
  %failed = call i64 @stepwell_system(i64 SYS_GETATTR, i64 0, i64 %at, i64 56, i64 0)
  %policy_at = getelementptr i8, ptr %attributes, i64 4
  %policy = load i32, ptr %policy_at, align 4
  %fine = icmp eq i64 %failed, 0
  %usual = icmp eq i32 %policy, 0
  %go = and i1 %fine, %usual
  br i1 %go, label %set, label %done
set:
  %slice_at = getelementptr i8, ptr %attributes, i64 24
  store i64 SLICE_NS, ptr %slice_at, align 8
  %ignored = call i64 @stepwell_system(i64 SYS_SETATTR, i64 0, i64 %at, i64 0, i64 0)
  br label %done
done:
  ret void
}

; ahead of other programs' threads, where the system allows it to this process: the caller waits for this thread (the call answers 20 - nice)
define internal void @stepwell_raise_priority() nounwind {
  %distance = call i64 @stepwell_system(i64 SYS_GETPRIORITY, i64 0, i64 0, i64 0, i64 0)
  %fine = icmp sgt i64 %distance, 0
  br i1 %fine, label %set, label %done
set:
  %nice = sub i64 20, %distance
  %raised = sub i64 %nice, PRIORITY
  %ignored = call i64 @stepwell_system(i64 SYS_SETPRIORITY, i64 0, i64 0, i64 %raised, i64 0)
  br label %done
done:
  ret void
}

define ptr @stepwell_worker(ptr %ctx) nounwind {
entry:
  %everything = alloca i64, align 8
  store i64 -1, ptr %everything, align 8
  %set = ptrtoint ptr %everything to i64
  %blocked = call i64 @stepwell_system(i64 SYS_SIGPROCMASK, i64 0, i64 %set, i64 0, i64 8)
  %float_state = call i32 @stepwell_enter_float_state()
  call void @stepwell_shorten_slice()
  call void @stepwell_raise_priority()
  %begun_at = getelementptr i8, ptr %ctx, i64 384
  %known_at = getelementptr i8, ptr %ctx, i64 388
  %numbers = getelementptr i8, ptr %ctx, i64 448
  %index = atomicrmw add ptr %begun_at, i32 1 acq_rel
  %own_at = getelementptr i32, ptr %numbers, i32 %index
  %thread = call i64 @stepwell_system(i64 SYS_GETTID, i64 0, i64 0, i64 0, i64 0)
  %number = trunc i64 %thread to i32
  store atomic i32 %number, ptr %own_at release, align 4
  %known_before = atomicrmw add ptr %known_at, i32 1 acq_rel
  %stop_at = getelementptr i8, ptr %ctx, i64 84
  %epoch_at = getelementptr i8, ptr %ctx, i64 80
  %spin_at = getelementptr i8, ptr %ctx, i64 48
  %long = load i64, ptr %spin_at, align 8
  %far = shl i64 %long, 2
  br label %wait
wait:
  %seen = phi i32 [ 0, %entry ], [ %epoch, %work ]
  %budget = phi i64 [ SHORT_SPIN, %entry ], [ %next_budget, %work ]
  %waited = call i64 @stepwell_await(ptr %ctx, i32 %seen, i64 %budget)
  %soon = icmp ult i64 %waited, %far
  %next_budget = select i1 %soon, i64 %long, i64 SHORT_SPIN
  %epoch = load atomic i32, ptr %epoch_at acquire, align 4
  %stop = load atomic i32, ptr %stop_at acquire, align 4
  %leave = icmp ne i32 %stop, 0
  br i1 %leave, label %done, label %work
work:
  call void @stepwell_work(ptr %ctx)
  br label %wait
done:
  ret ptr null
}
"""
