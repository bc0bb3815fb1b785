"""Lowerings from tile kernels to threads of a GPU: one function per op."""
