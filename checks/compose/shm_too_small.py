"""Several GPUs work on one model in a container with Docker's 64 MB of shared memory.

## Why it matters
The processes of one model, one for each GPU, hand data to each other through `/dev/shm`. With Docker's default of
64 MB NCCL fails at the start or in the middle of a request, with "unhandled system error" or a bus error.

## How to fix
Write `ipc: host` or `shm_size: 16gb` below the service.

## References
- https://docs.vllm.ai/en/stable/deployment/docker.html
- https://github.com/vllm-project/vllm/issues/1710
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, Service
from gpudoctor.facts.gpus import Gpus
from gpudoctor.judging.composed import asked, at, given, group_size

_DEFAULT = 64 * 2**20
_ENGINES = ("vllm", "sglang", "tgi", "ktransformers")


@check()
def shm_too_small(compose: Compose, gpus: Gpus | Unavailable, policy: Policy) -> Iterator[Finding]:
    """Judge services whose engine has a process for each GPU."""
    least = int(policy["shm_min_bytes"])
    for service in compose.services:
        question = asked(service)
        if question is None or question.settings.engine not in _ENGINES:
            yield skipped(service.subject, "runs no engine with a process for each GPU")
            continue
        yield _judge(service, group_size(question, given(service, gpus).number), least)


def _judge(service: Service, size: int, least: int) -> Finding:
    shm = service.shm_size_bytes
    seen = (saw("ipc", service.ipc or "private", service.place.file),
            saw("shm_size bytes", shm or _DEFAULT, service.place.file))
    mounted = any(each.target == "/dev/shm" for each in service.volumes)
    if (service.ipc or "").startswith(("host", "container:", "service:")) or mounted:
        return passed(service.subject, "shares memory beyond its own", evidence=seen)
    if size < 2:
        return skipped(service.subject, "runs its model on one GPU")
    have = shm or _DEFAULT
    fix = step("Write below the service: ipc: host, or shm_size: 16gb")
    if have >= least:
        return passed(service.subject, "has {have:bytes} of shared memory for {size} GPUs", have=have, size=size,
                      evidence=seen)
    if shm is None:
        return at(service.place, failed(
            service.subject, "{size} GPUs share a model through 64 MB of /dev/shm: NCCL will fail", size=size,
            evidence=seen, fix=fix))
    return at(service.place_of("shm_size"), warned(
        service.subject, "{size} GPUs share a model through {have:bytes} of /dev/shm; NCCL and the engine want "
        "{least:bytes}", size=size, have=have, least=least, evidence=seen, fix=fix))
