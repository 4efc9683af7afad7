"""An engine has no process on a GPU that it was started for.

## Why it matters
With tensor parallelism of four there must be an engine's process on each of four GPUs. Where one is missing, that
member died or never started, and the group hangs or answers from fewer GPUs than its owner pays for. An engine without
any process on a GPU computes on the CPU.

Judged by NVML's list of processes for each GPU, against the engine's own flags (tensor times pipeline parallel size).

## How to fix
Read the engine's log for the member that ended, see that GPU's health, and start the engine again.

## References
- https://docs.vllm.ai/en/latest/serving/parallelism_scaling/
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step, unknown
from gpudoctor.checking.finding import Evidence
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.serving import Endpoint, Serving
from gpudoctor.judging.engine_flags import number
from gpudoctor.judging.served import held, settings_of

_READ_LOG = step("Read the engine's log: which member ended, and why.", "gpudoctor diagnose LOG")


@check()
def gpu_idle(serving: Serving, gpus: Gpus | Unavailable, containers: Containers | Unavailable) -> Iterator[Finding]:
    """Judge each endpoint's processes against NVML's lists."""
    here = [each for each in serving.answering if each.local]
    if not here:
        yield skipped("host", "no engine of this machine answers")
        return
    if isinstance(gpus, Unavailable):
        said = skipped if gpus.harmless else unknown
        yield said("host", "which process uses which GPU could not be read: {reason}", reason=gpus.reason)
        return
    if not gpus.answering:
        yield skipped("host", "no GPU answers through NVML")
        return
    for each in here:
        yield _judge(each, gpus, containers)


def _judge(each: Endpoint, gpus: Gpus, containers: Containers | Unavailable) -> Finding:
    flags = settings_of(each, containers)
    wanted = (number(flags, "tensor_parallel") or 1) * (number(flags, "pipeline_parallel") or 1)
    if each.engine == "vllm":  # SGLang's data parallel ranks may share the GPUs of one group
        wanted *= number(flags, "data_parallel") or 1
    on = held(each, gpus)
    seen = (saw("GPUs that its flags ask for", wanted, "its command line"), *_lists(each, gpus))
    if each.loaded == () or each.engine in ("llama-cpp-python", "openai"):
        return skipped(each.subject, "nothing of {engine} has to be on a GPU now", engine=each.engine, evidence=seen)
    if on and len(on) >= wanted:
        return passed(each.subject, "{engine} has processes on GPUs {indices}", engine=each.engine,
                      indices=tuple(h.gpu for h in on), evidence=seen)
    if not each.pids and each.container_id is None:
        return skipped(each.subject, "which processes are those of {engine} is not visible to this user",
                       engine=each.engine, evidence=seen)
    several = (number(flags, "nodes") or 1) > 1 or flags.get("executor") == "ray" or "data_parallel_local" in flags
    if on and (several or wanted > len(gpus.answering)):
        return skipped(each.subject, "{engine} may be spread over several machines: it is on {count} GPUs of this one",
                       engine=each.engine, count=len(on), evidence=seen)
    if any(isinstance(gpu.processes, Unavailable) for gpu in gpus.answering) or _hidden(gpus):
        return unknown(each.subject, "NVML does not name the processes on these GPUs", evidence=seen,
                       fix=step("Run it on the host: inside a container other processes are hidden."))
    if not on:
        if each.engine in ("ollama", "llama.cpp"):
            return skipped(each.subject, "{engine} has no process on a GPU: serving.offload-partial judges it",
                           engine=each.engine, evidence=seen)
        return failed(each.subject, "{engine} has no process on any GPU", engine=each.engine, evidence=seen,
                      fix=(_READ_LOG, step("See whether it can use the GPUs at all.", "gpudoctor check")))
    return failed(each.subject, "{engine} was started for {wanted} GPUs and has processes on {count}: {indices}",
                  engine=each.engine, wanted=wanted, count=len(on), indices=tuple(h.gpu for h in on), evidence=seen,
                  fix=(_READ_LOG, step("See the health of the others.", "gpudoctor check --only gpu")))


def _hidden(gpus: Gpus) -> bool:
    """True where memory is in use that no listed process explains: another process namespace hides them all."""
    return any(
        isinstance(gpu.memory_used_bytes, int) and gpu.memory_used_bytes > 2**30 and gpu.processes == ()
        for gpu in gpus.answering
    )


def _lists(each: Endpoint, gpus: Gpus) -> tuple[Evidence, ...]:
    by_gpu = {h.gpu: h for h in held(each, gpus)}
    return tuple(
        saw(f"on GPU {gpu.index}", by_gpu[gpu.index].processes if gpu.index in by_gpu else "no process of it", "NVML")
        for gpu in gpus.answering[:16]
    )
