"""The GPU is not registered with the NVLink fabric.

## Why it matters
On NVSwitch machines a GPU must be registered with the fabric before CUDA works at all: until then every program fails
with error 802, "system not yet initialized". Registration takes a minute or two after boot.

## How to fix
Look at the fabric manager first (`gpu.fabric-manager-missing`, `gpu.fabric-manager-mismatch`). In a virtual machine the
host's fabric manager does it.

## References
- https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/
- https://github.com/NVIDIA/NVSentinel/issues/883
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, failed, known, need, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu
from gpudoctor.facts.host import Host
from gpudoctor.judging.cards import link_form

NOT_SUPPORTED, COMPLETED, SUCCESS = 0, 3, 0
STATES = {1: "not started", 2: "in progress", 3: "completed"}


@check()
def fabric_not_ready(gpu: Gpu, host: Host | Unavailable, policy: Policy) -> Iterator[Finding]:
    """Judge the state that NVML tells; a GPU without fabric says so itself."""
    fabric = need(gpu.fabric)
    uptime = known(host.uptime_seconds) if isinstance(host, Host) else None
    state = STATES.get(fabric.state, str(fabric.state))
    seen = (saw("fabric state", fabric.state, "nvmlDeviceGetGpuFabricInfoV"),
            saw("result of the registration", fabric.result, "nvmlDeviceGetGpuFabricInfoV"),
            saw("health mask", known(fabric.health_mask), "nvmlDeviceGetGpuFabricInfoV"),
            saw("seconds since boot", uptime, "/proc/uptime"))
    look = step("See what the fabric manager says.", "systemctl status nvidia-fabricmanager")
    if fabric.state == NOT_SUPPORTED or link_form(gpu) in ("none", "bridge", "c2c", "c2c+nvlink"):
        yield skipped(gpu.subject, "this GPU is on no NVSwitch fabric", evidence=seen)
    elif fabric.state == COMPLETED and fabric.result == SUCCESS:
        yield passed(gpu.subject, "the GPU is registered with the NVLink fabric", evidence=seen)
    elif fabric.state == COMPLETED:
        yield failed(gpu.subject, "{name}: registration with the NVLink fabric failed with code {code}", name=gpu.label,
                     code=fabric.result, evidence=seen, fix=look)
    elif uptime is not None and uptime < policy["fabric_wait_seconds"]:
        yield warned(gpu.subject, "{name}: registration with the NVLink fabric is {state}, {uptime:seconds} after boot",
                     name=gpu.label, state=state, uptime=uptime, evidence=seen,
                     fix=step("Wait a few minutes, then run this again."))
    else:
        yield failed(gpu.subject, "{name}: registration with the NVLink fabric is still {state}", name=gpu.label,
                     state=state, evidence=seen, fix=look)
