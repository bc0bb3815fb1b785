"""From graph ops without a form in linalg to kernels of plain loops: one writer for each op."""
