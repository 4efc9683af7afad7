"""Names of CUDA's libraries, and the packages that bring them."""

import re
from collections.abc import Iterable

#: Library -> the wheel that brings it, without ``-cu12``.
WHEELS = {
    "libcudart": "nvidia-cuda-runtime", "libcublas": "nvidia-cublas", "libcublasLt": "nvidia-cublas",
    "libcudnn": "nvidia-cudnn", "libnccl": "nvidia-nccl", "libnvrtc": "nvidia-cuda-nvrtc",
    "libcusparse": "nvidia-cusparse", "libcusparseLt": "nvidia-cusparselt", "libcusolver": "nvidia-cusolver",
    "libcufft": "nvidia-cufft", "libcurand": "nvidia-curand", "libnvJitLink": "nvidia-nvjitlink",
    "libcupti": "nvidia-cuda-cupti", "libnvToolsExt": "nvidia-nvtx", "libcufile": "nvidia-cufile",
    "libnvshmem_host": "nvidia-nvshmem", "libnvjpeg": "nvidia-nvjpeg", "libnvinfer": "tensorrt",
    "libcutensor": "cutensor", "libcudss": "nvidia-cudss",
}
#: Copies inside another package carry a hash: libcudart-1a2b3c4d.so.12, in torchvision's libcudart.1a2b3c4d.so.12.
_FILE = re.compile(rf"({'|'.join(WHEELS)})(?:[-.][0-9a-f]{{8}})?\.so((?:\.\d+)*)$")
_CUDART_11 = re.compile(r"libcudart(?:[-.][0-9a-f]{8})?\.so\.11\.0$")


def is_cuda(name: str) -> bool:
    """Tell whether a file or soname is one of CUDA's libraries."""
    return _FILE.match(name) is not None


def library_of(name: str) -> str | None:
    """Return ``libcublas`` for ``libcublas.so.12.8.4.1``; None for another file."""
    match = _FILE.match(name)
    return match[1] if match else None


def version_of(name: str) -> str | None:
    """Return the version in a real file's name, None when it has but a soname's number (``libcudnn.so.9``)."""
    match = _FILE.match(name)
    number = match[2].lstrip(".") if match else ""
    return number if number.count(".") >= 1 and not _CUDART_11.match(name) else None


def cuda_only(names: Iterable[str]) -> tuple[str, ...]:
    """Keep the names of CUDA's libraries, in order, once each."""
    return tuple(dict.fromkeys(name for name in names if is_cuda(name)))
