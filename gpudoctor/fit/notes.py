"""What to know beside the verdict: links, host memory, disk, who holds the GPUs, defaults that surprise."""

import math

from gpudoctor.fit.hardware import HELD_BYTES, Hardware
from gpudoctor.fit.prediction import Prediction, Reason
from gpudoctor.fit.question import Limits, Question
from gpudoctor.fit.settings import GIB

#: Sequential reading by class of device in bytes per second: what a load can reach, not the data sheet.
READ_BYTES_PER_S = {"nvme": 2.5e9, "ssd": 0.5e9, "hdd": 0.15e9, "network": 0.11e9, "memory": 8e9}


def notes(question: Question, prediction: Prediction, limits: Limits) -> tuple[Reason, ...]:
    """Everything worth saying about this answer that does not decide it."""
    found: list[Reason] = []
    found += [
        Reason("model.too-big", "unknown", "not known: {what}", {"what": what}) for what in question.model.unknown
    ]
    found += _too_big(question, prediction)
    found += _files(question)
    found += _holders(question.hardware)
    found += _order(question.hardware)
    found += _links(question, prediction)
    found += _host(question, prediction)
    found += _disk(question)
    found += _context(question, prediction, limits)
    found += _outside(question, prediction)
    return tuple(found)


def _too_big(question: Question, prediction: Prediction) -> list[Reason]:
    if any(reason.status == "fail" for reason in prediction.reasons):
        return []
    if prediction.verdict == "partial" and question.settings.engine != "ktransformers":
        on, total = prediction.layers_on_gpu, prediction.layers_total
        asked = question.settings.cpu_moe or question.settings.gpu_layers is not None
        message = "{on} of {total} layers fit on the GPUs; {cpu:bytes} of weights are read from host memory"
        experts = prediction.settings.cpu_moe_layers
        if on is None or on == total:
            message = "{cpu:bytes} of experts stay in host memory and are read from there"
            if experts:
                message = "the experts of {experts} layers, {cpu:bytes}, stay in host memory and are read from there"
        params: dict[str, str | int | float | None] = {
            "on": on, "total": total, "cpu": prediction.cpu_weights_bytes, "experts": experts,
        }  # fmt: skip
        return [Reason("model.too-big", "info" if asked else "warn", message, params)]
    if prediction.verdict == "does-not-fit":
        missing = -(prediction.margin_bytes or 0)
        message = "no GPU has room for a single layer"
        if missing > 0:
            message = "{missing:bytes} are missing on the fullest GPU"
        return [Reason("model.too-big", "fail", message, {"missing": missing})]
    margin, (less, more) = prediction.margin_bytes, prediction.error
    if prediction.verdict == "fits" and margin is not None and margin < more:
        return [
            Reason(
                "model.too-big", "info", "{left:bytes} are left, less than the figure may be off ({error:bytes})",
                {"left": margin, "error": max(less, more)},
            )
        ]  # fmt: skip
    return []


def _files(question: Question) -> list[Reason]:
    return [
        Reason("model.files-broken", "warn", "{warning}", {"warning": warning},
               (("Download the missing or short files again", None),), subject=f"file:{question.model.name}")
        for warning in question.model.warnings
    ]  # fmt: skip


def _holders(hardware: Hardware) -> list[Reason]:
    found = []
    for gpu in hardware.gpus:
        held = gpu.usable_bytes - gpu.free_bytes
        if not hardware.live or held < HELD_BYTES:
            continue
        names = [f"{holder.name} (pid {holder.pid})" for holder in gpu.holders]
        found.append(
            Reason(
                "gpu.memory-in-use", "info", "{held:bytes} of GPU {gpu} are taken: {names}",
                {"gpu": gpu.number, "held": held, "names": ", ".join(names) or "by processes that cannot be seen"},
                subject=f"gpu:{gpu.number}",
            )
        )  # fmt: skip
    return found


def _order(hardware: Hardware) -> list[Reason]:
    if len({gpu.name for gpu in hardware.gpus}) < 2 or any(gpu.vendor != "nvidia" for gpu in hardware.gpus):
        return []
    return [
        Reason(
            "gpu.mixed-kinds", "info",
            "CUDA numbers the fastest GPU first, nvidia-smi goes by slot: index 0 may be another card", {},
            (("Number them by slot", "export CUDA_DEVICE_ORDER=PCI_BUS_ID"),),
        )
    ]  # fmt: skip


def _links(question: Question, prediction: Prediction) -> list[Reason]:
    ranks = prediction.settings.tensor_parallel or 1
    hardware = question.hardware
    gpus = hardware.gpus[: ranks * (prediction.settings.pipeline_parallel or 1)]
    if ranks < 2 or question.settings.engine not in ("vllm", "sglang", "tgi") or len(gpus) < 2:
        return []
    found: list[Reason] = []
    chosen = {gpu.number for gpu in gpus}
    if all(gpu.peers is not None for gpu in gpus):
        apart = [gpu.number for gpu in gpus if not chosen - {gpu.number} <= set(gpu.peers or ())]
        message = "the tensor-parallel GPUs {chosen} are joined by NVLink"
        if apart:
            message = "GPU {apart} has no active NVLink to the others of {chosen}: tensor parallel runs over PCIe"
        others = sorted({peer for gpu in gpus for peer in gpu.peers or ()} - chosen)
        found.append(
            Reason("gpu.no-nvlink", "info" if apart else "pass", message,
                   {"chosen": _list(sorted(chosen)), "apart": _list(apart), "others": _list(others)})
        )  # fmt: skip
    elif hardware.link == "pcie" or (hardware.link is None and not all(gpu.nvlink for gpu in gpus)):
        found.append(
            Reason("gpu.no-nvlink", "info", "no NVLink between {count} x {name}: tensor parallel runs over PCIe",
                   {"count": len(gpus), "name": gpus[0].name})
        )  # fmt: skip
    if len({gpu.numa_node for gpu in gpus if gpu.numa_node is not None}) > 1:
        found.append(
            Reason("gpu.far-apart", "info", "the tensor-parallel GPUs {chosen} belong to several CPU sockets",
                   {"chosen": _list(sorted(chosen))})
        )  # fmt: skip
    sizes = {round(gpu.total_bytes / GIB) for gpu in gpus}
    if len(sizes) > 1:
        found.append(
            Reason("gpu.mixed-kinds", "warn", "tensor parallel gives every GPU an equal part: the smallest decides", {},
                   (("Use equal GPUs for one model, or layer split (Ollama, llama.cpp)", None),))
        )  # fmt: skip
    return found


def _host(question: Question, prediction: Prediction) -> list[Reason]:
    have, need = question.hardware.host_free_bytes, prediction.host_bytes
    if have is None or need is None or need <= have:
        return []
    status = "fail" if prediction.cpu_weights_bytes else "warn"
    return [
        Reason(
            "host.ram-short", status, "loading needs {need:bytes} of host memory, {have:bytes} are free",  # type: ignore[arg-type]
            {"need": need, "have": have},
            (("Free host memory or add swap before loading; keep more of the model on the GPUs", None),),
        )
    ]  # fmt: skip


def _disk(question: Question) -> list[Reason]:
    model, hardware = question.model, question.hardware
    size = model.file_bytes or model.weights_bytes
    found: list[Reason] = []
    if hardware.disk_free_bytes is not None and not model.local and size > hardware.disk_free_bytes:
        found.append(
            Reason(
                "host.disk-short", "fail", "the model takes {size:bytes}, {path} has {free:bytes} left",
                {"size": size, "free": hardware.disk_free_bytes, "path": hardware.disk_path},
                (("Free space, or put the model store on another disk (OLLAMA_MODELS, HF_HOME)", None),),
            )
        )  # fmt: skip
    rate = READ_BYTES_PER_S.get(hardware.disk_kind or "")
    if rate is not None and hardware.disk_kind in ("hdd", "network", "ssd"):
        found.append(
            Reason(
                "host.disk-slow", "info", "reading {size:bytes} from {kind} takes about {time:seconds} at every start",
                {"size": size, "kind": hardware.disk_kind, "time": size / rate},
                (("A local NVMe disk reads it in about {nvme:seconds}", None),),
            )._replace(
                params={"size": size, "kind": hardware.disk_kind, "time": size / rate,
                        "nvme": size / READ_BYTES_PER_S["nvme"]}
            )
        )  # fmt: skip
    return found


def _context(question: Question, prediction: Prediction, limits: Limits) -> list[Reason]:
    context, most = prediction.settings.context or 0, limits.max_context
    maximum = question.model.context_maximum
    if question.settings.engine != "ollama" or question.settings.context is not None or not most or not maximum:
        return []
    if context >= maximum or most <= context:
        return []
    return [
        Reason(
            "serving.context-default", "info",
            "Ollama would serve {context} tokens; the model can do {maximum} and {most} fit",
            {"context": context, "maximum": maximum, "most": most},
            (("Set the context that fits", "OLLAMA_CONTEXT_LENGTH={most}"),),
        )
    ]  # fmt: skip


def _outside(question: Question, prediction: Prediction) -> list[Reason]:
    share = prediction.settings.gpu_memory_utilization
    if question.settings.engine != "vllm" or share is None or prediction.verdict != "fits":
        return []
    for gpu, need in zip(question.hardware.gpus, prediction.gpus, strict=True):
        if not need.total or share <= 0.9:
            continue
        inside = math.ceil(gpu.usable_bytes * share)
        held = gpu.usable_bytes - gpu.free_bytes if question.hardware.live else 0
        outside, wanted = gpu.usable_bytes - inside, need.total - inside + held
        lower = math.floor(100 * (gpu.usable_bytes - wanted) / gpu.usable_bytes) / 100
        over = wanted > outside
        return [
            Reason(
                "model.too-big", "warn" if over else "info",
                "a share of {share} leaves {outside:bytes} of GPU {gpu}; the CUDA context, graphs and other processes "
                "take {wanted:bytes}",
                {"share": share, "outside": outside, "gpu": gpu.number, "wanted": wanted, "lower": lower},
                (("Lower the share", "--gpu-memory-utilization {lower}"),) if over else (), subject=f"gpu:{gpu.number}",
            )
        ]  # fmt: skip
    return []


def _list(numbers: list[int]) -> str:
    return ",".join(map(str, numbers)) or "none"
