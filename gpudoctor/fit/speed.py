"""Expected decode speed: every token reads the active weights and its cache once, at a part of the bandwidth.

Checked against published figures: gpt-oss:120b 64.7 and gpt-oss:20b 92.3 tokens/s on Quadro RTX 8000 cards.
"""

from typing import NamedTuple

from gpudoctor.fit.hardware import Gpu, Hardware
from gpudoctor.fit.model import Model
from gpudoctor.fit.prediction import Prediction

#: Part of the peak bandwidth that decoding reaches, and the fixed time of one token, by engine. Together with the time
#: of a layer they give both published figures on the RTX 8000 (65 and 92) and stay within 20 % of dense 8B and 70B
#: models on the RTX 3090, RTX 4090 and H100.
_PART = {"ollama": 0.8, "llama.cpp": 0.8, "vllm": 0.75, "sglang": 0.75, "tgi": 0.7, "transformers": 0.35}
_TOKEN_S = {"transformers": 0.02, "tgi": 0.001, "vllm": 0.0005, "sglang": 0.0005}
#: Launches of the small kernels of one layer on a Turing card; a mixture's routing takes more of them.
_LAYER_S = 0.00004
_ROUTED_LAYER_S = 0.000165
#: What newer generations take of that time, by compute capability.
_GENERATION = ((10, 0, 0.35), (9, 0, 0.4), (8, 9, 0.45), (8, 0, 0.6))
#: Two synchronisations of every layer between tensor-parallel ranks.
_SYNC_S = {"nvlink": 0.00002, "pcie": 0.00006}
#: Memory of a current server when nothing is known: eight channels of DDR4-3200.
_HOST_BANDWIDTH = 100e9


class Speed(NamedTuple):
    """Tokens per second of one request, and what the figure rests on."""

    decode_tokens_per_s: float
    basis: str


def active_bytes(model: Model) -> float:
    """Weights that one token reads: all dense parts, its experts' share, the output."""
    total = 0.0
    share = model.experts.active / model.experts.total if model.experts else 1.0
    for layer in model.layers:
        total += layer.weights.dense + layer.weights.experts * share
    return total + (model.embedding_bytes if model.tied_embeddings else model.output_bytes)


def expected(model: Model, prediction: Prediction, hardware: Hardware, engine: str) -> Speed | None:
    """Estimate the decode speed, None when the bandwidth of a GPU or the placement is not known."""
    used = [(gpu, need) for gpu, need in zip(hardware.gpus, prediction.gpus, strict=True) if need.weights]
    if not used or any(gpu.bandwidth_bytes_per_s is None for gpu, _ in used):
        return None
    weights = active_bytes(model)
    everything = sum(layer.weights.total for layer in model.layers) or 1
    settings = prediction.settings
    context = settings.context or 0
    cache = (prediction.kv_needed_bytes or 0) / max(settings.parallel or 1, 1)
    # A conversation fills the cache over time: half of it on average.
    read = cache / 2 if context else 0.0
    part = _PART.get(engine, 0.7)
    share = model.experts.active / model.experts.total if model.experts else 1.0
    cpu = prediction.cpu_weights_bytes
    cpu_read = cpu * (weights / everything if model.experts is None else _active_part(model, cpu, share))
    gpu_read = max(weights - cpu_read, 0.0) + read
    ranks = settings.tensor_parallel or 1
    slowest = min(gpu.bandwidth_bytes_per_s or 0.0 for gpu, _ in used)
    if ranks > 1:
        seconds = gpu_read / (slowest * ranks * part)
        seconds += 2 * len(model.layers) * _SYNC_S[hardware.link or _link(hardware)]
    else:
        held = sum(need.weights or 0 for _, need in used) or 1
        seconds = sum(
            gpu_read * (need.weights or 0) / held / ((gpu.bandwidth_bytes_per_s or 1.0) * part) for gpu, need in used
        )
    host_bandwidth = hardware.host_bandwidth_bytes_per_s or _HOST_BANDWIDTH
    seconds += cpu_read / (host_bandwidth * 0.7)
    routed = sum(1 for layer in model.layers if layer.routed)
    small = _LAYER_S * (len(model.layers) - routed) + _ROUTED_LAYER_S * routed
    seconds += _TOKEN_S.get(engine, 0.0) + small * max(_generation(gpu) for gpu, _ in used)
    names = ", ".join(dict.fromkeys(gpu.name for gpu, _ in used))
    basis = f"{(gpu_read) / 1e9:.1f} GB read per token at {part:.0%} of {slowest / 1e9:.0f} GB/s ({names})"
    if cpu_read:
        basis += f", {cpu_read / 1e9:.1f} GB from host memory at {host_bandwidth / 1e9:.0f} GB/s"
    return Speed(round(1 / seconds, 1), basis + "; one request, half of its context filled")


def _generation(gpu: Gpu) -> float:
    have = gpu.compute_capability
    return next((part for *since, part in _GENERATION if have is not None and have >= tuple(since)), 1.0)


def _active_part(model: Model, cpu: int, share: float) -> float:
    experts = sum(layer.weights.experts for layer in model.layers)
    return share if experts and cpu <= experts * 1.2 else min(1.0, active_bytes(model) / max(cpu, 1))


def _link(hardware: Hardware) -> str:
    linked = all(gpu.peers for gpu in hardware.gpus) if hardware.live else all(gpu.nvlink for gpu in hardware.gpus)
    return "nvlink" if linked else "pcie"
