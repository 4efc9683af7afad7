"""Device nodes of the driver are missing, or this user may not use them.

## Why it matters
CUDA opens `/dev/nvidiactl`, `/dev/nvidia-uvm` and one `/dev/nvidiaN` for each GPU. Without `nvidia-uvm` `nvidia-smi`
works and CUDA does not: engines fall back to the CPU, and containers are started without it. Nodes that only root may
open fail for services that run as their own user.

## How to fix
`nvidia-modprobe -u -c=0` creates them; the persistence daemon or udev rules do so at every boot. For access, look at
mode and group of the nodes: the driver's default is read and write for all (`NVreg_DeviceFileMode=0666`).

## References
- https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/index.html
- https://github.com/NVIDIA/nvidia-modprobe
- https://github.com/ollama/ollama/issues/5464
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, need, passed, saw, skipped, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import DeviceNode, Driver
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.judging.presence import need_nvidia


@check()
def device_nodes(driver: Driver, pci: Pci | Unavailable, host: Host | Unavailable) -> Iterator[Finding]:
    """Compare the nodes with the GPUs that the loaded driver holds; a node proves nothing without a driver."""
    devices = need_nvidia(pci)
    if isinstance(host, Host) and host.wsl:
        yield skipped("host", "under WSL the only node is /dev/dxg")
        return
    if need(driver.loaded_version) is None:
        yield skipped("host", "no NVIDIA module is loaded; nodes alone prove nothing")
        return
    nodes = {node.path: node for node in need(driver.device_nodes)}
    container = host.container if isinstance(host, Host) else None
    wanted = ["/dev/nvidiactl", "/dev/nvidia-uvm"]
    given = [path for path in nodes if path.removeprefix("/dev/nvidia").isdigit()]
    # A container is given some of the host's GPUs; which ones were meant is not to be seen in here.
    wanted += given if container is not None else _gpu_nodes(driver, devices, given)
    missing = tuple(path for path in wanted if path not in nodes)
    closed = [nodes[path] for path in wanted if path in nodes and not nodes[path].accessible]
    seen = (saw("nodes", tuple(_listing(node) for node in nodes.values()), "/dev"),
            saw("GPUs of the driver", len(driver.proc_gpus), "/proc/driver/nvidia/gpus"),
            saw("nodes wanted", tuple(wanted), "/proc/driver/nvidia/gpus, /sys/bus/pci/devices"))
    if missing and container is not None:
        yield failed("host", "this container lacks {missing}", missing=missing, evidence=seen,
                     fix=step("Create the nodes on the host, then recreate the container.",
                              "sudo nvidia-modprobe -u -c=0"))
    elif missing:
        yield failed(
            "host", "device nodes are missing: {missing}", missing=missing, evidence=seen,
            fix=(step("Create them now.", "sudo nvidia-modprobe -u -c=0"),
                 step("And at every boot.", "sudo systemctl enable --now nvidia-persistenced")))
    if closed:
        yield failed(
            "host", "this user may not read and write {paths}", paths=tuple(_listing(node) for node in closed),
            evidence=seen,
            fix=(step("Join the group that owns them, or give them back their usual mode.",
                      "ls -l /dev/nvidia*; grep -rn NVreg_DeviceFile /etc/modprobe.d; id"),))
    if not missing and not closed:
        yield passed("host", "the device nodes are there, and this user may use them", evidence=seen)


def _gpu_nodes(driver: Driver, devices: tuple[PciDevice, ...], given: list[str]) -> list[str]:
    minors = [gpu.minor for gpu in driver.proc_gpus if gpu.minor is not None]
    if minors:
        return [f"/dev/nvidia{minor}" for minor in sorted(minors)]
    held = sum(device.driver == "nvidia" for device in devices)
    # Minor numbers may have gaps, so without the driver's own list only the count is certain.
    return given if len(given) >= held else [f"/dev/nvidia{n}" for n in range(held)]


def _listing(node: DeviceNode) -> str:
    return f"{node.path} ({node.mode:04o} {node.uid}:{node.gid})"
