"""The container's /dev/shm is too small.

## Why it matters
Docker gives a container 64 MiB of shared memory. NCCL and the workers of a tensor-parallel engine exchange data
through it and stop with "No space left on device", a failed segment, or a bus error that tells nothing.

Judged for running engines with several workers: below 1 GiB (ours) it is a failure where tensor parallelism is asked
for, and a warning where several GPUs are inside.

## How to fix
Share the host's memory (`ipc: host`), or set shm_size; in Kubernetes mount an emptyDir of medium Memory on /dev/shm.

## References
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
- https://github.com/NVIDIA/nccl/issues/342
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Container, Containers
from gpudoctor.judging.docker_remedies import compose_file
from gpudoctor.judging.engine_flags import number, read_flags
from gpudoctor.judging.gpu_containers import engine_of, gpu_minors

#: Their workers speak through NCCL and shared memory; Ollama and llama.cpp run in one process.
_WORKERS = frozenset({"vllm", "sglang", "tgi"})


@check()
def shm_too_small(containers: Containers, policy: Policy) -> Iterator[Finding]:
    """Judge running engines that compute on several GPUs."""
    found = tuple(c for c in containers.containers if c.running and engine_of(c) in _WORKERS)
    for each in found:
        yield _judge(each, int(policy["shm_min_bytes"]))
    if not found:
        yield skipped("host", "no engine with several workers runs in a container")


def _judge(each: Container, limit: int) -> Finding:
    parallel = number(read_flags(each.command), "tensor_parallel")
    gpus = len(gpu_minors(each))
    size = each.shm_size_bytes
    seen = (saw("ipc", each.ipc_mode or "private", "docker inspect"),
            saw("/dev/shm bytes", None if isinstance(size, Unavailable) else size, "docker inspect"),
            saw("tensor parallel", parallel, "command"), saw("GPUs inside", gpus or None, "/proc/PID/root/dev"))
    if each.ipc_mode == "host":
        return passed(each.subject, "it shares the host's memory (ipc: host)", evidence=seen)
    if each.ipc_mode.startswith("container:"):
        return skipped(each.subject, "it uses the shared memory of another container", evidence=seen)
    if isinstance(size, Unavailable):
        return skipped(each.subject, "the size of its /dev/shm is not known: {reason}", reason=size.reason)
    if parallel == 1 or (parallel is None and gpus < 2):
        return passed(each.subject, "one GPU per model: {size:bytes} of shared memory are enough", size=size,
                      evidence=seen)
    if size >= limit:
        return passed(each.subject, "{size:bytes} of shared memory", size=size, evidence=seen)
    file = compose_file(each)
    fix = (step("Share the host's memory: ipc: host in Compose, --ipc=host for docker run.",
                risk="recreates the container"),
           step("Or give it its own: shm_size: 16gb in Compose, --shm-size=16g for docker run."),
           *((step("It is Compose's; this shows the change.", "gpudoctor compose fix {file}", file=file),)
             if file else ()))
    if parallel is not None:
        return failed(each.subject, "{parallel} workers share {size:bytes} of /dev/shm: NCCL needs more", size=size,
                      parallel=parallel, evidence=seen, fix=fix)
    return warned(each.subject, "{gpus} GPUs are inside and /dev/shm has {size:bytes}: NCCL fails as soon as a model "
                  "is split over them", gpus=gpus, size=size, evidence=seen, fix=fix)
