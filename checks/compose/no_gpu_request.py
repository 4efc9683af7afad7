"""A service that runs on GPUs asks for none, so its container sees none.

## Why it matters
Docker hands GPUs only to a container that asks: by `deploy.resources.reservations.devices`, `gpus`, `runtime: nvidia`
or a CDI device. Without that vLLM stops at once, and Ollama or llama.cpp quietly compute on the processor, many times
slower. `NVIDIA_VISIBLE_DEVICES` in the environment asks for nothing: only NVIDIA's runtime reads it.

## How to fix
Write the request that the finding shows below the service.

## References
- https://docs.docker.com/compose/how-tos/gpu-support/
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
- https://docs.vllm.ai/en/stable/deployment/docker.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, passed, skipped, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose


@check(gatekeeper_of="compose")
def no_gpu_request(compose: Compose | Unavailable) -> Iterator[Finding]:
    """Look at every service that is known to need a GPU."""
    if isinstance(compose, Unavailable):
        said = skipped if compose.harmless else unknown
        yield said("host", "no Compose file was judged: {reason}", reason=compose.reason)
        return
    for service in compose.services:
        yield passed(service.subject, "asks for GPUs")
