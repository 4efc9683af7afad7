"""CUDA at work (only with --deep)."""
