"""From the llvm level to machine code: layouts, targets, the LLVM text translator, PTX, native objects."""
