"""Installed builds of PyTorch against driver and GPUs."""
