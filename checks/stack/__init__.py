"""CUDA toolkits, libraries and compilers, and how they fit the driver."""
