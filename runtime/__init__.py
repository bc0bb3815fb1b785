"""What a deployment needs: plan files, loaders, engines. Imports NumPy and, for CUDA sections, cuda.bindings; nothing
else of the project."""
