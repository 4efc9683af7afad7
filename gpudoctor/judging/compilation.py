"""What in an environment compiles code on this machine, and so needs a compiler, a toolkit or headers."""

from gpudoctor.facts.python_envs import PythonEnvironment

#: Engines and kernels whose installation from source compiles CUDA code.
_SOURCES = ("vllm", "sglang", "ktransformers", "llama-cpp-python", "exllamav2", "flash-attn", "sgl-kernel")


def from_source(each: PythonEnvironment) -> str | None:
    """Return an engine that is installed from its source folder, so that changes are compiled here."""
    return next((p.name for p in each.packages if p.editable and p.name in _SOURCES), None)


def compiles(each: PythonEnvironment) -> str | None:
    """Return what compiles CUDA code here: ``flashinfer`` without compiled kernels, or a package from source.

    FlashInfer's cubin package spares vLLM the compiler; SGLang's attention kernels are only in the JIT cache.
    """
    source = from_source(each)
    if source is not None:
        return source
    ready = each.package("flashinfer-jit-cache") is not None or (
        each.package("flashinfer-cubin") is not None and each.package("sglang") is None
    )
    return "flashinfer" if each.package("flashinfer-python") is not None and each.engines and not ready else None


def uses_triton(each: PythonEnvironment) -> bool:
    """True for an engine that compiles Triton kernels, whose launcher a C compiler builds."""
    triton = each.package("triton") is not None
    return triton and any(each.package(name) is not None for name in ("vllm", "sglang"))
