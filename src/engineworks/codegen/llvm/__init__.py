"""LLVM IR: the scalar language, loop nests, micro-kernels, the thread pool, compilation to objects."""
