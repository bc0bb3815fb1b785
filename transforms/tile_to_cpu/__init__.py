"""From kernels over tiles to vectors and loops of the CPU."""
