"""The test kit that passes, dialects and kernels are checked with; shipped for pass authors."""
