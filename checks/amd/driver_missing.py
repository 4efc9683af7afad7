"""An AMD GPU is present, and its kernel driver or a device node that ROCm needs is not.

## Why it matters
ROCm opens `/dev/kfd` for computing and `/dev/dri/renderD*` for each GPU. Without them every engine runs on the CPU,
most of them without saying so. A display on the same card proves nothing: it needs neither.

The kernel's own amdgpu driver is enough for many releases of ROCm; `amdgpu-dkms` brings AMD's newer one. The graphics
of a processor and the display chips of servers are not judged.

## How to fix
Load or install the driver on the host. In a container, pass the devices: `--device /dev/kfd --device /dev/dri`.

## References
- https://rocm.docs.amd.com/projects/install-on-linux/en/latest/
- https://rocm.docs.amd.com/projects/install-on-linux/en/latest/how-to/docker.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, noted, passed, saw, skipped, step, unknown
from gpudoctor.checking.finding import Evidence, Step
from gpudoctor.facts.amd import Amd
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.amd_machine import compute_gpus, reason_to_skip
from gpudoctor.judging.remedies import fitting


@check(gatekeeper_of="amd")
def driver_missing(
    amd: Amd | Unavailable, pci: Pci | Unavailable, host: Host | Unavailable, target: Target
) -> Iterator[Finding]:
    """Look for the module, the compute node and the render nodes."""
    why = reason_to_skip(pci, host)
    if isinstance(amd, Unavailable) and not amd.harmless:
        yield unknown("host", "the AMD driver could not be looked at: {reason}", reason=amd.reason)
    elif why is not None:
        yield skipped("host", "nothing to judge: {reason}", reason=why)
    elif isinstance(amd, Unavailable):
        yield skipped("host", "nothing to judge: {reason}", reason=amd.reason)
    elif isinstance(pci, Pci):
        yield _judge(amd, pci, host, target)


def _judge(amd: Amd, pci: Pci, host: Host | Unavailable, target: Target) -> Finding:
    gpus = tuple(gpu.address for gpu in compute_gpus(pci))
    drivers = tuple(sorted({gpu.driver or "none" for gpu in compute_gpus(pci)}))
    nodes = tuple(node.path for node in amd.nodes)
    seen = (
        saw("AMD GPUs", gpus, "/sys/bus/pci/devices"),
        saw("bound driver", drivers, "/sys/bus/pci/devices"),
        saw("amdgpu loaded", amd.module_loaded, "/sys/module/amdgpu"),
        saw("device nodes", nodes, "/dev/kfd, /dev/dri"),
    )
    if not amd.module_loaded and target.installing:
        return noted("host", "the amdgpu driver is not installed yet for {gpus}", gpus=gpus, evidence=seen,
                     fix=_install(host))
    if not amd.module_loaded:
        return failed("host", "the amdgpu driver is not loaded, so nothing can use {gpus}", gpus=gpus,
                      evidence=seen, fix=_install(host))
    missing = _missing(nodes)
    if missing:
        return _no_nodes(missing, host, seen)
    return passed("host", "amdgpu {version} is loaded, with {nodes}",
                  version=amd.module_version or "of the kernel", nodes=nodes, evidence=seen)


def _missing(nodes: tuple[str, ...]) -> tuple[str, ...]:
    render = any(path.startswith("/dev/dri/renderD") for path in nodes)
    return (*(() if "/dev/kfd" in nodes else ("/dev/kfd",)), *(() if render else ("/dev/dri/renderD*",)))


def _no_nodes(missing: tuple[str, ...], host: Host | Unavailable, seen: tuple[Evidence, ...]) -> Finding:
    if isinstance(host, Host) and host.container is not None:
        return failed(
            "host",
            "this container has no {missing}, which ROCm opens",
            missing=missing, evidence=seen,
            fix=step("Start it with --device /dev/kfd --device /dev/dri (Compose: devices:), and --group-add for the "
                     "groups that own them."),
        )
    return failed(
        "host",
        "the amdgpu driver is loaded, but {missing} is not there, which ROCm opens",
        missing=missing, evidence=seen,
        fix=(
            step("Read why the driver made none.", "sudo dmesg | grep -iE 'amdgpu|kfd'"),
            step("Install a newer kernel or amdgpu-dkms if this GPU is newer than the kernel."),
        ),
    )


def _install(host: Host | Unavailable) -> tuple[Step, ...]:
    load = step("If the driver is there, load it.", "sudo modprobe amdgpu")
    risk = "changes the kernel modules; needs a reboot"
    return fitting(
        host,
        debian=(load, step("Else install AMD's, from the repository that AMD's installation page sets up.",
                           "sudo apt install linux-headers-$(uname -r) amdgpu-dkms", risk=risk)),
        rhel=(load, step("Else install AMD's, from the repository that AMD's installation page sets up.",
                         "sudo dnf install kernel-headers kernel-devel amdgpu-dkms", risk=risk)),
        nixos=step('Add "amdgpu" to boot.initrd.kernelModules, then rebuild.', "sudo nixos-rebuild boot",
                   risk="takes effect at the next boot"),
        other=(load, step("Else install a kernel that knows this GPU, or AMD's driver.")),
    )
