"""Ways out of what logs tell, with figures computed from the log and for this machine."""

import math
import re
from collections.abc import Callable, Mapping

from gpudoctor.checking.finding import Step, Value, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.python_envs import PythonEnvs, TorchBuild
from gpudoctor.facts.signatures import Signatures
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.pasted_fit import Start, ask_fit, fitting, start_of, steps_of
from gpudoctor.judging.remedies import boot_option, install_driver, reboot, rebuild_initramfs
from gpudoctor.matrices import cuda_driver

Values = Mapping[str, Value]
_Remedy = Callable[[Values, Signatures, Snapshot], tuple[Step, ...]]


def remedy(name: str, values: Values, log: Signatures, facts: Snapshot | None) -> tuple[Step, ...]:
    """Return the steps of a named way out, () for a name that is not known."""
    found = REMEDIES.get(name)
    return found(values, log, facts or Snapshot()) if found is not None else ()


def _number(text: object) -> float | None:
    try:
        number = float(str(text))
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _host(facts: Snapshot) -> Host | Unavailable:
    return facts.host


def _wanted_cuda(values: Values, log: Signatures, facts: Snapshot) -> str | None:
    """The CUDA that something here was built for: what the log says, the image, or the pasted PyTorch."""
    for text in (values.get("cuda"), log.stated.get("image cuda")):
        if text and _number(text):
            return str(text)
    if isinstance(facts.python_envs, PythonEnvs):
        for each in facts.python_envs.environments:
            if isinstance(each.torch, TorchBuild) and isinstance(each.torch.cuda, str):
                return each.torch.cuda
    return None


def _driver_for_cuda(values: Values, log: Signatures, facts: Snapshot) -> tuple[Step, ...]:
    cuda = _wanted_cuda(values, log, facts)
    floor = cuda_driver.floor_for_cuda(int(cuda.split(".")[0])) if cuda else None
    here = facts.gpus.driver_version if isinstance(facts.gpus, Gpus) else None
    if cuda is None or floor is None:
        return (step("Install a newer driver.", None), *install_driver(_host(facts))[-1:])
    install = install_driver(_host(facts))[-1:]
    major, lowest = cuda.split(".")[0], floor.min_driver
    if isinstance(here, str):
        return (
            step("The driver is {driver}. Any program of CUDA {major} needs at least {floor}; for all of CUDA {cuda} "
                 "take the newest branch.", driver=here, floor=lowest, cuda=cuda, major=major),
            *install,
        )  # fmt: skip
    return (
        step("Any program of CUDA {major} needs at least driver {floor}; for all of CUDA {cuda} take the newest "
             "branch.", floor=lowest, cuda=cuda, major=major),
        *install,
    )  # fmt: skip


def _tensor_parallel(values: Values, log: Signatures, facts: Snapshot) -> tuple[Step, ...]:
    heads = _number(values.get("heads") or log.stated.get("heads"))
    asked = _number(values.get("parallel") or log.stated.get("tensor parallel"))
    if heads is None or heads > 4096:
        return (step("Choose a tensor-parallel size that divides the attention heads: mostly 1, 2, 4 or 8.",
                     "vllm serve MODEL --tensor-parallel-size 2"),)  # fmt: skip
    limit = int(asked) if asked else 16
    fitting = tuple(n for n in range(1, min(limit, 64) + 1) if int(heads) % n == 0)
    best = fitting[-1] if fitting else 1
    return (
        step("Sizes that divide {heads} heads here: {sizes}.", "vllm serve MODEL --tensor-parallel-size {best}",
             heads=int(heads), sizes=fitting, best=best),
        step("To use the other GPUs too, split the layers: pipeline parallelism asks nothing of the heads.",
             "vllm serve MODEL --tensor-parallel-size {best} --pipeline-parallel-size 2", best=best),
    )  # fmt: skip


def _shm_size(values: Values, log: Signatures, facts: Snapshot) -> tuple[Step, ...]:
    several = len(facts.gpus.gpus) if isinstance(facts.gpus, Gpus) else 0
    gib = max(4, 2 * several, 2 * int(_number(log.stated.get("tensor parallel")) or 0))
    return (
        step("Give the container the host's shared memory, or {gib} GiB of its own; Docker's default is 64 MiB.",
             "docker run --ipc=host IMAGE   # or: --shm-size={gib}g", risk="recreates the container", gib=min(gib, 64)),
        step("In Compose: ipc: host, or shm_size: {gib}gb in the service.", gib=min(gib, 64)),
    )  # fmt: skip


#: With less of a GPU than this no engine serves a model worth starting.
_LEAST_SHARE = 0.3


def _utilization(values: Values, log: Signatures, facts: Snapshot) -> tuple[Step, ...]:
    free = _number(values.get("free") or log.stated.get("gpu free gib"))
    total = _number(values.get("total") or log.stated.get("gpu total gib"))
    if free is None or total is None or free > total:
        return (step("Stop the other program, or lower the engine's share of the GPU to what is free.",
                     "nvidia-smi --query-gpu=index,memory.free,memory.total --format=csv"),)  # fmt: skip
    share = max(0.0, math.floor((free - 0.1) / total * 100) / 100)
    if share < _LEAST_SHARE:
        return (step("Stop the other program, or take another GPU: of {total} GiB only {free} are free.",
                     free=f"{free:g}", total=f"{total:g}"),)  # fmt: skip
    return (
        step("Stop the other program, or take at most {share} of the GPU: {free} of {total} GiB are free.",
             "vllm serve MODEL --gpu-memory-utilization {share}", share=f"{share:.2f}", free=f"{free:g}",
             total=f"{total:g}"),
    )  # fmt: skip


def _kv_length(values: Values, log: Signatures, facts: Snapshot) -> tuple[Step, ...]:
    tokens, length = _number(values.get("tokens")), _number(values.get("length"))
    needed, free = _number(values.get("needed")), _number(values.get("free"))
    if tokens is None and length and needed and free:
        tokens = length * free / needed
    start = start_of(log, facts, _engine(log))
    larger = min(0.95, (_number(start.settings.get("gpu_memory_utilization")) or 0.9) + 0.05)
    more = step("Or leave the KV cache more: a larger share of the GPU, half its size with FP8, more GPUs, fewer CUDA "
                "graphs.", "vllm serve MODEL --gpu-memory-utilization {share} --kv-cache-dtype fp8 --enforce-eager",
                share=f"{larger:.2f}")  # fmt: skip
    if tokens is None:
        return (*_fitted(start, facts, step("Shorten the longest sequence.")), more)
    fits = int(tokens) // 16 * 16
    return (step("At most {tokens} tokens fit: shorten the longest sequence.",
                 "vllm serve MODEL --max-model-len {tokens}", tokens=fits), more)  # fmt: skip


def _fitted(start: Start, facts: Snapshot, unknown: Step) -> tuple[Step, ...]:
    """What fit says where the paste names model and GPUs, else what to do and how to ask fit."""
    fit = fitting(start, facts)
    return steps_of(fit) if fit is not None else (unknown, ask_fit(start, facts))


def _gib(text: object) -> float | None:
    number, _, unit = str(text).partition(" ")
    size = _number(number)
    return size * {"KiB": 2**-20, "MiB": 2**-10}.get(unit, 1.0) if size is not None else None


def _smaller_share(values: Values, log: Signatures, told: str | None, usual: float) -> str:
    """The share that leaves what was missing, and a little more, to allocations outside of the engine's own."""
    wanted, free, total = (_gib(values.get(name)) for name in ("wanted", "free", "total"))
    now = _number(told) or usual
    if wanted is None or free is None or total is None or wanted > total:
        return f"{max(0.3, now - 0.05):.2f}"
    return f"{max(0.3, math.floor((now - max(0.0, wanted - free) / total - 0.01) * 100) / 100):.2f}"


def _less_memory(values: Values, log: Signatures, facts: Snapshot) -> tuple[Step, ...]:
    engine = "ollama" if "engine:llama" in log.context else _engine(log)
    start = start_of(log, facts, engine)
    if engine == "ollama":
        return (
            *_fitted(start, facts, step("Ask for less context, or for fewer requests at once.")),
            step("Or make the KV cache smaller, to half, and serve one request at a time.",
                 "OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE=q8_0 OLLAMA_NUM_PARALLEL=1 ollama serve"),
        )  # fmt: skip
    others = (
        step("Another program holds {others} of it: stop that first.",
             "nvidia-smi --query-compute-apps=gpu_uuid,pid,process_name,used_memory --format=csv", others=other),
    ) if (other := values.get("others")) and not _its_own(other, log) else ()  # fmt: skip
    if engine == "sglang":
        share = _smaller_share(values, log, start.settings.get("gpu_memory_utilization"), 0.85)
        return (
            *others,
            step("Leave more outside of SGLang's own pool, and capture fewer CUDA graphs.",
                 "python -m sglang.launch_server --model-path MODEL --mem-fraction-static {share} "
                 "--cuda-graph-max-bs 16", share=share),
            step("Long prompts: compute them in smaller parts.",
                 "python -m sglang.launch_server --model-path MODEL --chunked-prefill-size 2048"),
            *_fitted(start, facts, step("Or shorten the longest sequence.")),
        )  # fmt: skip
    if engine == "tgi":
        return (*others, *_fitted(start, facts, step("Ask for less: shorter requests, fewer tokens in one batch.")))
    unknown = step("Ask for less: a shorter longest sequence, fewer sequences at once, no CUDA graphs.",
                   "vllm serve MODEL --max-model-len TOKENS --max-num-seqs COUNT --enforce-eager")  # fmt: skip
    if engine is None:
        unknown = step("Ask for less: a shorter longest sequence, fewer sequences at once, a smaller batch.")
    return (
        *others,
        *_fitted(start, facts, unknown),
        step("While vLLM starts: lower its share, which leaves more for what lies outside of it.",
             "vllm serve MODEL --gpu-memory-utilization {share}",
             share=_smaller_share(values, log, start.settings.get("gpu_memory_utilization"), 0.9)),
    )  # fmt: skip


def _its_own(held: Value, log: Signatures) -> bool:
    """Inside a container PyTorch does not know its own process number, and names itself as another program."""
    texts = " ".join(match.text for match in log.of("serving.out-of-memory"))
    own = re.search(r"Of the allocated memory ([\d.]{1,12} [KMG]iB) is allocated", texts)
    size, allocated = _gib(held), _gib(own[1]) if own is not None else None
    return size is not None and allocated is not None and allocated > 0.8 * size


def _engine(log: Signatures) -> str | None:
    """The one engine that the paste is about, None where it names none or several."""
    kinds = {piece.kind for piece in log.pieces}
    found = {name for name in ("vllm", "sglang") if f"engine:{name}" in log.context}
    found |= {name for kind, name in _LOG_ENGINES.items() if kind in kinds}
    return found.pop() if len(found) == 1 else "sglang" if "SGLang log" in kinds else None


_LOG_ENGINES = {"vLLM log": "vllm", "SGLang log": "sglang", "TGI log": "tgi"}


def _offload(values: Values, log: Signatures, facts: Snapshot) -> tuple[Step, ...]:
    if values.get("done") or values.get("gpu"):
        return (
            step("Make room: less context, a smaller KV cache or a smaller quantization; see what fits.",
                 "gpudoctor fit MODEL --engine ollama"),
        )  # fmt: skip
    return (
        step("See whether the engine finds the GPU at all: its log says so right after the start.",
             "journalctl -u ollama -b --no-pager | grep -iE 'inference compute|gpu|cuda|driver'"),
        step("In a container see whether the GPU is there.", "docker exec CONTAINER nvidia-smi"),
        step("Paste that, too: it tells a driver that is too old from a container without a GPU."),
    )  # fmt: skip


def _port_holder(values: Values, log: Signatures, facts: Snapshot) -> tuple[Step, ...]:
    port = _number(values.get("port"))
    if port is None or port > 65535:
        return (step("See by which program.", "sudo ss -ltnp"),)
    return (step("See by which program or container.",
                 "sudo ss -ltnp 'sport = :{port}'; docker ps --filter publish={port}", port=int(port)),)  # fmt: skip


def _missing_library(values: Values, log: Signatures, facts: Snapshot) -> tuple[Step, ...]:
    if values.get("library") not in ("cuda", "nvidia-ml"):
        return ()
    return (
        step("See where the driver's library is; inside a container it is there only with the GPUs.",
             "ldconfig -p | grep -E 'libcuda.so|libnvidia-ml.so'"),
        step("Where only lib{library}.so.1 is listed, give the linker the name that it looks for.",
             "sudo ln -s lib{library}.so.1 /usr/lib/x86_64-linux-gnu/lib{library}.so && sudo ldconfig",
             library=str(values["library"])),
        step("Or let it link against the toolkit's stub.", "export LIBRARY_PATH=/usr/local/cuda/lib64/stubs"),
    )  # fmt: skip


def _context(values: Values, log: Signatures, facts: Snapshot) -> tuple[Step, ...]:
    asked = _number(values.get("asked"))
    length = 1024 * math.ceil(min(asked, 1e8) * 1.1 / 1024) if asked else None
    ollama = "engine:llama" in log.context
    start = start_of(log, facts, "ollama" if ollama else _engine(log) or "vllm")
    fit = fitting(start, facts)
    most = fit.most if fit is not None else None
    if length and most and length > most:
        return (step("The requests need about {length} tokens, and at most {most} fit on these GPUs: send shorter "
                     "ones, or use more GPUs.", length=length, most=most), ask_fit(start, facts))  # fmt: skip
    room = step("At most {most} tokens fit on these GPUs.", most=most) if most else ask_fit(start, facts)
    if length is None:
        return (step("Raise it to what the requests need, as far as model and GPUs hold it."), room)
    if ollama:
        return (step("Raise it to what the requests need, as far as model and GPUs hold it.",
                     "OLLAMA_CONTEXT_LENGTH={length} ollama serve", length=length), room)  # fmt: skip
    return (step("Raise it to what the requests need, as far as model and GPUs hold it, or send shorter ones.",
                 "vllm serve MODEL --max-model-len {length}", length=length), room)  # fmt: skip


#: Name in the table -> the function that computes it.
REMEDIES: dict[str, _Remedy] = {
    "driver-for-cuda": _driver_for_cuda,
    "tensor-parallel": _tensor_parallel,
    "shm-size": _shm_size,
    "utilization": _utilization,
    "kv-length": _kv_length,
    "less-memory": _less_memory,
    "offload": _offload,
    "context": _context,
    "port-holder": _port_holder,
    "missing-library": _missing_library,
    "reboot": lambda values, log, facts: (reboot(facts.host),),
    "install-driver": lambda values, log, facts: install_driver(facts.host),
    "rebuild-initramfs": lambda values, log, facts: rebuild_initramfs(facts.host),
    "iommu-pt": lambda values, log, facts: boot_option(facts.host, "iommu=pt"),
}
