"""What several engines share: the CUDA context, choosing GPUs, and the words for a verdict."""


from gpudoctor.fit.hardware import Gpu
from gpudoctor.fit.model import Model
from gpudoctor.fit.settings import MIB

#: A CUDA context with cuBLAS and loaded kernels. Measured: 309 MiB (ollama/ollama#6160), about 680 MiB on
#: another rig (ggrun); Ollama reserves 457 MiB for it. It depends on driver, GPU and kernels.
CONTEXT_BYTES = 450 * MIB
CONTEXT_ERROR_BYTES = 220 * MIB


def context_bytes(gpu: Gpu) -> int:
    """Memory of a process's context on this GPU before it allocates anything."""
    # A HIP context with its kernels measures about the same; nothing better is published.
    return CONTEXT_BYTES if gpu.vendor == "nvidia" else 400 * MIB


def weights_error(model: Model) -> float:
    """Part by which the weights may be off: nothing for a header, little for a recomputed file.

    What others repacked, known by name only: dense models were within 2 %, mixtures and hybrids up to 18 % smaller
    than loaded, as packers differ in what they leave at 16 bit (Qwen3.5-35B-A3B in 4 bit: 23.4 GiB, not 19.0).
    """
    exact = model.source in ("gguf", "safetensors", "ollama store", "hub cache", "hub", "ollama registry")
    if model.unknown:
        return 0.05
    if model.repacked:
        plain = model.experts is None and not any(layer.cache.ssm_state_values for layer in model.layers)
        return 0.02 if plain else 0.15
    return 0.002 if exact else 0.006
