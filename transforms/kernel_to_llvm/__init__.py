"""From the `kernel` level to the llvm dialect: one function per op, in one table per dialect."""
