"""What forbids a run whatever the memory: drivers, GPU generations, number formats, unknown models, head counts.

Every fact comes from `gpudoctor.matrices`; a release or GPU the matrices do not know is never refused.
"""

from gpudoctor.fit.engines.sharding import head_problem
from gpudoctor.fit.hardware import Gpu, Hardware
from gpudoctor.fit.model import Model
from gpudoctor.fit.prediction import Reason
from gpudoctor.fit.settings import Settings, Version, version_tuple

#: vLLM's method for each quantization of a model.
_METHODS = {
    "FP8": "fp8", "AWQ": "awq", "GPTQ-Int4": "gptq", "GPTQ-Int8": "gptq", "W8A8": "compressed-tensors-int8",
    "W4A16": "compressed-tensors-wna16", "NF4": "bitsandbytes", "INT8": "bitsandbytes", "MXFP4": "mxfp4",
    "NVFP4": "nvfp4",
}  # fmt: skip


def refusals(model: Model, settings: Settings, hardware: Hardware) -> tuple[Reason, ...]:
    """Every reason why this engine cannot run this model on these GPUs, the surest first."""
    found: list[Reason] = []
    engine, version = settings.engine or "", settings.version
    found += _parallel(model, settings, engine)
    found += _kind(model, engine)
    found += _cache(model, settings, engine)
    if engine in ("vllm", "sglang", "ollama", "tgi") and version is not None and hardware.gpus:
        found += _requirement(engine, version, hardware)
    if engine == "vllm" and version is not None:
        found += _vllm(model, settings, version, hardware)
    if engine == "ollama" and version is not None:
        found += _ollama(model, version, hardware)
    return tuple(found)


def _parallel(model: Model, settings: Settings, engine: str) -> list[Reason]:
    ranks = settings.tensor_parallel or 1
    if engine not in ("vllm", "sglang", "tgi") or ranks == 1:
        return []
    what = head_problem(model, ranks)
    if what is None:
        return []
    able = [n for n in (1, 2, 4, 5, 8, 10, 16) if n != ranks and head_problem(model, n) is None]
    return [
        Reason(
            "engine.parallel-indivisible", "fail", "{what} cannot be divided over {ranks} GPUs",
            {"what": what, "ranks": ranks, "able": ", ".join(map(str, able))},
            (("Use a tensor-parallel size of {able}", "--tensor-parallel-size {first}"),),
        )._replace(params={"what": what, "ranks": ranks, "able": ", ".join(map(str, able)), "first": able[0]})
    ]  # fmt: skip


def _kind(model: Model, engine: str) -> list[Reason]:
    if model.encoder_decoder and engine in ("ollama", "llama.cpp", "ktransformers"):
        return [
            Reason(
                "engine.model-unknown", "fail", "{engine} runs no encoder-decoder model such as {model}",
                {"engine": engine, "model": model.name},
                (("Serve it with vLLM or faster-whisper", None),),
            )
        ]  # fmt: skip
    return []


def _cache(model: Model, settings: Settings, engine: str) -> list[Reason]:
    """llama.cpp's quantized caches: blocks of 32 values must divide a head, and values need flash attention."""
    kind = (settings.kv_cache_type or "f16").lower()
    if engine not in ("ollama", "llama.cpp") or not kind.startswith(("q", "iq")):
        return []
    if model.head_dim % 32 or model.value_head_dim % 32:
        return [
            Reason(
                "engine.quant-unsupported", "fail", "a {kind} KV cache needs heads of a multiple of 32, here {head}",
                {"kind": kind, "head": model.head_dim}, (("Keep the KV cache in f16", None),),
                links=("https://github.com/ggml-org/llama.cpp/issues/13121",),
            )
        ]  # fmt: skip
    if engine == "llama.cpp" and settings.flash_attention is False:
        return [
            Reason(
                "engine.quant-unsupported", "fail", "a {kind} value cache needs flash attention", {"kind": kind},
                (("Switch flash attention on", "-fa on"),),
            )
        ]  # fmt: skip
    return []


def _requirement(engine: str, version: str, hardware: Hardware) -> list[Reason]:
    from gpudoctor.matrices.engines import engine_requirement
    from gpudoctor.matrices.versions import at_least

    found: list[Reason] = []
    nvidia = [gpu for gpu in hardware.gpus if gpu.vendor == "nvidia"]
    lowest = min((gpu.compute_capability for gpu in nvidia if gpu.compute_capability), default=None)
    need = engine_requirement(engine, version, compute_capability=lowest)
    if need is None or not nvidia:
        return found
    driver = hardware.driver
    if driver and need.min_driver and need.driver_checked and not _reached(at_least, driver, need.min_driver):
        message = "{engine} {version} needs driver {needed}, this machine has {driver}"
        if need.falls_back_to_cpu:
            message = "{engine} {version} leaves GPUs on driver {driver} aside and runs on the CPU: it needs {needed}"
        older = _older_ollama(driver, lowest) if engine == "ollama" else None
        steps: list[tuple[str, str | None]] = [("Install NVIDIA driver {needed} or newer", None)]
        if older:
            steps.insert(0, ("Stay with Ollama {older}, the last that takes this driver", "ollama/ollama:{older}"))
        found.append(
            Reason(
                "engine.driver-too-old", "fail", message,
                {"engine": engine, "version": version, "needed": need.min_driver, "driver": driver, "older": older},
                tuple(steps), evidence=(("driver", driver, "hardware"), ("needed", need.min_driver, need.source.title)),
                links=(need.source.url,),
            )
        )  # fmt: skip
    floor = need.min_compute_capability
    for gpu in nvidia:
        if floor and gpu.compute_capability and gpu.compute_capability < floor:
            found.append(
                Reason(
                    "engine.gpu-unsupported", "fail",
                    "{engine} {version} has no code for compute capability {have} ({name}); the oldest is {floor}",
                    {"engine": engine, "version": version, "have": _dotted(gpu.compute_capability), "name": gpu.name,
                     "floor": _dotted(floor)},
                    (("Use llama.cpp or Ollama, or an older release", None),),
                    subject=f"gpu:{gpu.number}", links=(need.source.url,),
                )
            )  # fmt: skip
            break
    return found


def _reached(at_least: object, driver: str, floor: str) -> bool:
    try:
        return bool(at_least(driver, floor))  # type: ignore[operator]
    except ValueError:
        return True


def _older_ollama(driver: str, capability: tuple[int, int] | None) -> str | None:
    """The last Ollama release that still uses GPUs on this driver."""
    from gpudoctor.matrices import ollama
    from gpudoctor.matrices.versions import at_least

    for rule in reversed(ollama.table().drivers):
        floor = rule.floor(capability)
        if rule.before is not None and (not rule.enforced or floor is None or at_least(driver, floor)):
            numbers = list(version_tuple(rule.before) or ())
            if numbers and numbers[-1] > 0:
                numbers[-1] -= 1
                return ".".join(map(str, numbers))
    return None


def _vllm(model: Model, settings: Settings, version: str, hardware: Hardware) -> list[Reason]:
    from gpudoctor.matrices import vllm

    found: list[Reason] = []
    have = version_tuple(version) or ()
    if model.architecture.replace("-", "") == "gptoss":
        support = vllm.model("GptOssForCausalLM")
        if support is not None and have < (version_tuple(support.since) or ()):
            found.append(_unknown_model("vLLM", version, model, support.since))
    found += _rocm(version, hardware)
    gpu = _weakest(hardware)
    if gpu is None or gpu.compute_capability is None:
        return found
    method = "gguf" if model.form == "gguf" else _METHODS.get(model.quantization)
    run = _run(method, version, gpu.compute_capability) if method else None
    if run is not None:
        found.append(run._replace(subject=f"gpu:{gpu.number}"))
    bf16 = vllm.feature("bfloat16", version)
    asked = (settings.dtype or "").lower() in ("bf16", "bfloat16")
    needs_bf16 = asked or model.architecture.replace("-", "") in ("gptoss", "gemma3")
    if needs_bf16 and bf16 is not None and not bf16.runs_on(gpu.compute_capability):
        found.append(
            Reason(
                "engine.dtype-unsupported", "fail",
                "bfloat16 needs compute capability {floor}, {name} has {have}",
                {"floor": _dotted(bf16.min_capability or (8, 0)), "name": gpu.name,
                 "have": _dotted(gpu.compute_capability)},
                (("Ask for float16", "--dtype half"),) if asked else (("Use Ollama or llama.cpp on this GPU", None),),
                subject=f"gpu:{gpu.number}",
            )
        )  # fmt: skip
    return found


def _rocm(version: str, hardware: Hardware) -> list[Reason]:
    from gpudoctor.matrices import vllm

    listed = vllm.table().rocm
    for gpu in hardware.gpus:
        if gpu.vendor == "amd" and gpu.gfx and gpu.gfx.split("/")[0] not in listed.gfx:
            steps = (("Use Ollama or llama.cpp on this GPU", None),)
            if gpu.gfx in listed.compilable_gfx:
                steps = (("Use Ollama or llama.cpp, or compile vLLM for it", None),)
            return [
                Reason(
                    "engine.gpu-unsupported", "fail", "vLLM's ROCm image has no code for {gfx} ({name})",
                    {"gfx": gpu.gfx, "name": gpu.name, "version": version}, steps, subject=f"gpu:{gpu.number}",
                )
            ]  # fmt: skip
    return []


def _run(method: str, version: str, capability: tuple[int, int]) -> Reason | None:
    """Why this quantization method does not run. Rows start at sampled releases: a change in the same minor is open."""
    from gpudoctor.matrices import vllm

    rows = next((row.runs for row in vllm.table().quantization if row.method == method), ())
    have = version_tuple(version) or ()
    reached = [row for row in rows if (version_tuple(row.since) or ()) <= have]
    if not reached:
        return None
    row = reached[-1]
    later = rows[len(reached) :]

    def soon(able: bool) -> bool:
        return able and bool(later) and (version_tuple(later[0].since) or ())[:2] == have[:2]

    if row.absent:
        if row.plugin or soon(bool(later) and not later[0].absent) or not later:
            return None
        return Reason(
            "engine.quant-unsupported", "fail", "vLLM {version} does not know {method}; {since} does",
            {"version": version, "method": method, "since": later[0].since},
            (("Use vLLM {since} or newer", None),),
        )  # fmt: skip
    floor = row.min_capability
    if floor is None or capability >= floor:
        return None
    if soon(bool(later) and (later[0].min_capability or (0, 0)) <= capability):
        return None
    return Reason(
        "engine.quant-unsupported", "fail", "{method} in vLLM {version} needs compute capability {floor}, not {have}",
        {"method": method, "version": version, "floor": _dotted(floor), "have": _dotted(capability)},
        (("Use Ollama or llama.cpp on this GPU, or another quantization", None),),
    )  # fmt: skip


def _ollama(model: Model, version: str, hardware: Hardware) -> list[Reason]:
    from gpudoctor.matrices import ollama

    found: list[Reason] = []
    have = version_tuple(version) or ()
    rows = [row for row in ollama.table().models if row.architecture == model.architecture]
    if rows and not rows[0].or_earlier and have < _floor_of(rows[0].since):
        found.append(_unknown_model("Ollama", version, model, rows[0].since))
    listed = ollama.table().rocm_gfx
    for gpu in hardware.gpus:
        if gpu.gfx and gpu.gfx not in listed.gfx and have >= _floor_of(listed.since):
            found.append(
                Reason(
                    "engine.gpu-unsupported", "fail", "Ollama {version} has no ROCm code for {gfx} ({name})",
                    {"version": version, "gfx": gpu.gfx, "name": gpu.name}, (("Use its Vulkan backend", None),),
                    subject=f"gpu:{gpu.number}",
                )
            )  # fmt: skip
            break
    return found


def _floor_of(since: str) -> Version:
    return version_tuple(since) or ()


def _unknown_model(engine: str, version: str, model: Model, since: str) -> Reason:
    return Reason(
        "engine.model-unknown", "fail", "{engine} {version} does not know {architecture}; {since} does",
        {"engine": engine, "version": version, "architecture": model.architecture, "since": since},
        (("Use {engine} {since} or newer", None),),
    )  # fmt: skip


def _weakest(hardware: Hardware) -> Gpu | None:
    nvidia = [gpu for gpu in hardware.gpus if gpu.vendor == "nvidia" and gpu.compute_capability]
    return min(nvidia, key=lambda gpu: gpu.compute_capability or (0, 0), default=None)


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
