"""Ways out that fit this machine's distribution, and the few that many checks share."""

from typing import Literal

from gpudoctor.checking.finding import Step, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host

Family = Literal["debian", "rhel", "nixos", "other"]

_RHEL = {"rhel", "centos", "fedora", "rocky", "almalinux", "ol", "amzn", "oracle"}
_DEBIAN = {"debian", "ubuntu"}


def family(host: Host | Unavailable) -> Family:
    """Return the distribution family by os-release's ID and ID_LIKE; ``other`` when it is none we know."""
    if isinstance(host, Unavailable):
        return "other"
    names = {host.os_id.lower(), *(name.lower() for name in host.os_like)}
    if "nixos" in names:
        return "nixos"
    if names & _DEBIAN:
        return "debian"
    return "rhel" if names & _RHEL else "other"


def fitting(
    host: Host | Unavailable,
    *,
    other: Step | tuple[Step, ...],
    debian: Step | tuple[Step, ...] | None = None,
    rhel: Step | tuple[Step, ...] | None = None,
    nixos: Step | tuple[Step, ...] | None = None,
) -> tuple[Step, ...]:
    """Choose the remedy for this machine's distribution; ``other`` is the neutral one and must name no tool."""
    choice = {"debian": debian, "rhel": rhel, "nixos": nixos, "other": other}[family(host)]
    choice = other if choice is None else choice
    return (choice,) if isinstance(choice, Step) else choice


def reboot(host: Host | Unavailable) -> Step:
    """Reboot the machine."""
    return step("Reboot.", "sudo systemctl reboot", risk="stops everything on this machine")


def reset_gpu(index: int) -> Step:
    """Reset one idle GPU."""
    return step(
        "Stop what uses GPU {index}, then reset it.",
        "sudo nvidia-smi --gpu-reset -i {index}",
        risk="ends every program on that GPU",
        index=index,
    )


def install_driver(host: Host | Unavailable, *, open_modules: bool = True) -> tuple[Step, ...]:
    """Install NVIDIA's driver as this distribution does it."""
    return fitting(
        host,
        debian=(
            step("See which driver packages fit this GPU.", "ubuntu-drivers list --gpgpu")
            if not isinstance(host, Unavailable) and host.os_id == "ubuntu"
            else step("Enable contrib, non-free and non-free-firmware, then refresh.", "sudo apt update"),
            step("Install the headers of this kernel and the driver.",
                 "sudo apt install linux-headers-$(uname -r) nvidia-open" if open_modules
                 else "sudo apt install linux-headers-$(uname -r) cuda-drivers",
                 risk="changes the kernel modules; needs a reboot"),
        ),
        rhel=(
            step("Install the headers of this kernel.", "sudo dnf install kernel-devel-$(uname -r) kernel-headers"),
            step("Install the driver from NVIDIA's repository.",
                 "sudo dnf install nvidia-open" if open_modules else "sudo dnf install cuda-drivers",
                 risk="changes the kernel modules; needs a reboot"),
        ),
        nixos=step(
            'Set services.xserver.videoDrivers = [ "nvidia" ]; hardware.nvidia.open = {open}; '
            "hardware.graphics.enable = true; then rebuild.",
            "sudo nixos-rebuild boot",
            risk="takes effect at the next boot",
            open="true" if open_modules else "false",
        ),
        other=step("Install NVIDIA's driver for this kernel, with your distribution's packages where it has them."),
    )
