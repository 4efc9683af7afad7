"""Dated tables of what runs with what, and their typed readers.

A table is a TOML file with its sources and the day they were read; the reader of the same name is the only access to
it. A version that a table does not know gives None, never a default: the caller says that it does not know.
"""

MATRICES_DATE = "2026-11-20"
"""The newest day on which sources of a table were read."""

TABLES = {
    "gpus": "GPUs",
    "cuda_driver": "CUDA toolkits and NVIDIA drivers",
    "xid": "NVIDIA error numbers of the kernel log",
    "pytorch": "PyTorch",
    "vllm": "vLLM",
    "sglang": "SGLang",
    "ollama": "Ollama",
    "tgi": "Text Generation Inference",
    "cudnn": "cuDNN",
    "containers": "Docker, Compose and the NVIDIA Container Toolkit",
    "images": "Container images",
    "service_kinds": "Services beside language models",
    "nginx": "nginx's directives",
    "signatures": "Log lines whose meaning is known",
}
"""Every table by file name, and what it is about."""
