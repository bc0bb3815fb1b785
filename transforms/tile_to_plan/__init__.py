"""From `tile` to `plan`: values become memory, kernels become launches."""
