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


def install_driver(
    host: Host | Unavailable, *, open_modules: bool = True, branch: int | None = None
) -> tuple[Step, ...]:
    """Install NVIDIA's driver as this distribution does it.

    Args:
        host: For its distribution.
        open_modules: Which kernel modules the GPU needs; Maxwell, Pascal and Volta know only the proprietary ones.
        branch: The last branch that knows the GPU; None for any.
    """
    if branch is not None:
        return _install_branch(host, branch)
    return fitting(
        host,
        debian=(
            step("Install the headers of this kernel.", "sudo apt install linux-headers-$(uname -r)"),
            step("See which drivers fit.", "ubuntu-drivers list --gpgpu"),
            step("Install the one for servers.", "sudo ubuntu-drivers install --gpgpu",
                 risk="changes the kernel modules; needs a reboot"),
        )
        if not isinstance(host, Unavailable) and host.os_id == "ubuntu"
        else (
            step("Enable contrib, non-free and non-free-firmware in APT's sources, then refresh.", "sudo apt update"),
            step("Install the headers of this kernel and the driver.",
                 "sudo apt install linux-headers-$(uname -r) nvidia-open-kernel-dkms nvidia-driver" if open_modules
                 else "sudo apt install linux-headers-$(uname -r) nvidia-kernel-dkms nvidia-driver",
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


def _install_branch(host: Host | Unavailable, branch: int) -> tuple[Step, ...]:
    return fitting(
        host,
        debian=step("Install driver branch {branch}, the last for this GPU, and the headers of this kernel.",
                    "sudo apt install linux-headers-$(uname -r) nvidia-driver-{branch}-server"
                    if not isinstance(host, Unavailable) and host.os_id == "ubuntu"
                    else "sudo apt install linux-headers-$(uname -r) cuda-drivers-{branch}",
                    risk="changes the kernel modules; needs a reboot", branch=branch),
        rhel=step("Install driver branch {branch}, the last for this GPU, from NVIDIA's repository.",
                  "sudo dnf install kernel-devel-$(uname -r) cuda-drivers-{branch}",
                  risk="changes the kernel modules; needs a reboot", branch=branch),
        nixos=step("Set hardware.nvidia.open = false and hardware.nvidia.package to the package of branch {branch} "
                   "in config.boot.kernelPackages.nvidiaPackages, then rebuild.", "sudo nixos-rebuild boot",
                   risk="takes effect at the next boot", branch=branch),
        other=step("Install driver branch {branch}, the last for this GPU, for this kernel.", branch=branch),
    )


def boot_option(host: Host | Unavailable, option: str) -> tuple[Step, ...]:
    """Add an option to the kernel's command line; it takes effect at the next boot."""
    return fitting(
        host,
        debian=step("Add {option} to GRUB_CMDLINE_LINUX in /etc/default/grub, then write GRUB's menu and reboot.",
                    "sudo update-grub", risk="takes effect at the next boot", option=option),
        rhel=step("Add {option} to the kernel's command line, then reboot.",
                  "sudo grubby --update-kernel=ALL --args={option}", risk="takes effect at the next boot",
                  option=option),
        nixos=step('Add "{option}" to boot.kernelParams, then rebuild and reboot.', "sudo nixos-rebuild boot",
                   risk="takes effect at the next boot", option=option),
        other=step("Add {option} to the kernel's command line in your boot loader's settings, then reboot.",
                   option=option),
    )


def rebuild_initramfs(host: Host | Unavailable) -> tuple[Step, ...]:
    """Write the early boot image anew, which carries module settings of its own."""
    return fitting(
        host,
        debian=step("Write the early boot image anew.", "sudo update-initramfs -u -k all"),
        rhel=step("Write the early boot image anew.", "sudo dracut --force --regenerate-all"),
        nixos=step("Rebuild the system.", "sudo nixos-rebuild boot"),
        other=step("Write the early boot image (initramfs) anew."),
    )
