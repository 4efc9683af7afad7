"""Predict what a model needs on given GPUs: pure arithmetic from a model, an engine and hardware."""
