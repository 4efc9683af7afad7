"""gpudoctor: hardware preflight and diagnosis for GPU servers that run large language models."""

__version__ = "0.1.0"
