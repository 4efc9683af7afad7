"""Inference engines against driver, GPUs and models."""
