"""NVML, the library behind nvidia-smi, cannot be initialised or hangs.

## Why it matters
Every tool and engine asks NVML for the GPUs. Its return code tells the causes apart: 9 no driver loaded, 12 library not
found, 18 library and kernel module of different versions, 4 no permission, 15 a GPU fell off the bus, 16 a GPU needs a
reset, 17 the operating system blocks it (IOMMU, control group), 999 anything else. No answer at all means that a call
is stuck inside the driver; such processes cannot be killed (state D).

## How to fix
By code, as the finding says. A hung driver is cured only by a reset of the GPU or a reboot; save what the kernel log
says first. A container whose access was lost must be recreated: restarting a program in it does not help.

## References
- https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, Step, Target, check, failed, known, noted, passed, saw, skipped, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.network import Processes
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import closed_gate, own_nvidia
from gpudoctor.judging.remedies import fitting, install_driver, reboot

_NO_PERMISSION, _DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND = 4, 9, 12
_GPU_LOST, _RESET_REQUIRED, _BLOCKED, _MISMATCH, _UNKNOWN = 15, 16, 17, 18, 999


@check(gatekeeper_of="gpus")
def nvml_unusable(
    gpus: Gpus | Unavailable,
    pci: Pci | Unavailable,
    driver: Driver | Unavailable,
    host: Host | Unavailable,
    processes: Processes | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Translate NVML's return code; a machine without NVIDIA GPU needs no NVML."""
    wsl = isinstance(host, Host) and host.wsl
    if isinstance(gpus, Gpus) and gpus.error_code is None:
        yield passed("host", "NVML answers: driver {version}, {n} GPUs", version=known(gpus.driver_version),
                     n=len(gpus.gpus), evidence=saw("library", known(gpus.library_path), "NVML"))
    elif isinstance(pci, Pci) and not own_nvidia(pci) and not wsl:
        yield skipped("host", "no NVIDIA GPU on the PCI bus that this system uses itself")
    elif isinstance(gpus, Unavailable) and gpus.kind == "timeout" and "--timeout" not in gpus.reason:
        # A run that the operator cut short says nothing of the driver; the probe's own deadline does.
        yield _hung(gpus, host, processes)
    elif isinstance(gpus, Unavailable):
        yield closed_gate("NVML", gpus)
    else:
        yield _by_code(gpus, driver, host, target)


def _hung(gpus: Unavailable, host: Host | Unavailable, processes: Processes | Unavailable) -> Finding:
    stuck = processes.uninterruptible if isinstance(processes, Processes) else ()
    return failed(
        "host",
        "the NVIDIA driver hangs: {reason}; stuck in the kernel: {stuck}",
        reason=gpus.reason, stuck=stuck or ("none seen",),
        evidence=(saw("NVML", gpus.reason, "nvmlInit_v2"), saw("processes in state D", stuck, "/proc")),
        fix=(
            step("Save what the kernel says.", "sudo dmesg -T | grep -E 'NVRM|Xid|hung task' | tail -n 50"),
            step("Stop the services that use the GPUs; what is stuck in the kernel cannot be killed."),
            reboot(host),
        ),
    )


def _by_code(gpus: Gpus, driver: Driver | Unavailable, host: Host | Unavailable, target: Target) -> Finding:
    code, text = gpus.error_code, gpus.error
    loaded = known(driver.loaded_version) if isinstance(driver, Driver) else None
    inside = host.container if isinstance(host, Host) else None
    wsl = isinstance(host, Host) and host.wsl
    seen = (saw("NVML's return code", code, "nvmlInit_v2"), saw("NVML's text", text, "nvmlInit_v2"),
            saw("loaded driver", loaded, "/sys/module/nvidia/version"))
    if code in (_DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND) and target.installing and loaded is None:
        return noted("host", "NVML is not there yet (code {code}): no driver is installed", code=code, evidence=seen)
    if wsl:
        return failed(
            "host", "NVML cannot be used under WSL (code {code}: {text})", code=code, text=text, evidence=seen,
            fix=(step("Install or update NVIDIA's driver in Windows; none belongs into WSL."),
                 step("Then end WSL, in Windows, and start it again.", "wsl.exe --shutdown",
                      risk="ends everything in WSL")))
    if inside is not None and code in (_DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND, _UNKNOWN, _NO_PERMISSION):
        return failed(
            "host", "no GPU is usable inside this container ({kind}; NVML code {code}: {text})",
            kind=inside, code=code, text=text, evidence=seen,
            fix=(step("Recreate the container with its GPUs; restarting it does not give them back.",
                      "docker run --rm --gpus all ubuntu nvidia-smi"),
                 step("Run gpudoctor check on the host: it sees which path gives GPUs to containers.")))
    if code == _LIBRARY_NOT_FOUND and loaded is not None:
        return _library_missing(loaded, driver, host, seen)
    return _failure(code, text, loaded, host, seen)


def _library_missing(
    loaded: str, driver: Driver | Unavailable, host: Host | Unavailable, seen: tuple[Evidence, ...]
) -> Finding:
    copies = driver.library("libnvidia-ml.so.1") if isinstance(driver, Driver) else ()
    branch = loaded.partition(".")[0]
    return failed(
        "host",
        "driver {version} is loaded, but the loader does not find its library libnvidia-ml.so.1",
        version=loaded,
        evidence=(*seen, saw("copies", tuple(lib.path for lib in copies), "/etc/ld.so.cache and default folders")),
        fix=(
            step("If it lies in a folder of LD_LIBRARY_PATH: sudo removes that variable. Run gpudoctor without sudo, "
                 "or name the folder in /etc/ld.so.conf.d.", "sudo ldconfig"),
            *fitting(
                host,
                debian=step("Else install the library of this driver.", "sudo apt install nvidia-utils-{branch}",
                            branch=branch)
                if isinstance(host, Host) and host.os_id == "ubuntu"
                else step("Else install the library of this driver.", "sudo apt install libnvidia-ml1 nvidia-smi"),
                rhel=step("Else install the library of this driver.", "sudo dnf install nvidia-driver-cuda"),
                nixos=step("Else set hardware.graphics.enable = true and rebuild.", "sudo nixos-rebuild switch"),
                other=step("Else install the user-space part of driver {version}.", version=loaded),
            ),
        ),
    )


def _failure(
    code: int | None, text: str | None, loaded: str | None, host: Host | Unavailable, seen: tuple[Evidence, ...]
) -> Finding:
    fix = _fix(code, loaded, host)
    if code == _DRIVER_NOT_LOADED:
        return failed("host", "NVML reaches no NVIDIA driver (code {code}: {text})",
                      code=code, text=text, evidence=seen, fix=fix)
    if code == _LIBRARY_NOT_FOUND:
        return failed("host", "NVML's library libnvidia-ml.so.1 is not installed (code {code}: {text})",
                      code=code, text=text, evidence=seen, fix=fix)
    if code == _MISMATCH:
        return failed("host", "NVML's library and the loaded module are of different versions (code {code}: {text})",
                      code=code, text=text, evidence=seen, fix=fix)
    if code == _NO_PERMISSION:
        return failed("host", "this user may not use the GPUs (NVML code {code}: {text})",
                      code=code, text=text, evidence=seen, fix=fix)
    if code == _GPU_LOST:
        return failed("host", "a GPU has fallen off the bus (NVML code {code}: {text})",
                      code=code, text=text, evidence=seen, fix=fix)
    if code == _RESET_REQUIRED:
        return failed("host", "a GPU needs a reset (NVML code {code}: {text})",
                      code=code, text=text, evidence=seen, fix=fix)
    if code == _BLOCKED:
        return failed("host", "the operating system blocks NVML (code {code}: {text}): IOMMU or control group",
                      code=code, text=text, evidence=seen, fix=fix)
    if code == _UNKNOWN:
        return failed("host", "NVML fails without naming a cause (code {code}: {text})",
                      code=code, text=text, evidence=seen, fix=fix)
    return failed("host", "NVML fails (code {code}: {text})", code=code, text=text, evidence=seen, fix=fix)


def _fix(code: int | None, loaded: str | None, host: Host | Unavailable) -> tuple[Step, ...]:
    if code == _DRIVER_NOT_LOADED and loaded is not None:
        return (step("Create the device nodes and look again.", "sudo nvidia-modprobe -u -c=0 && nvidia-smi"),)
    if code == _DRIVER_NOT_LOADED:
        return (step("Load the driver, as driver.not-loaded says."),)
    if code == _LIBRARY_NOT_FOUND:
        return install_driver(host)
    if code == _MISMATCH:
        return (step("Load the module that belongs to the library: reboot."), reboot(host))
    if code == _NO_PERMISSION:
        return (step("See who may open the nodes; under SELinux also what it refused.",
                     "ls -l /dev/nvidia*; sudo ausearch -m avc -ts recent | grep -i nvidia"),)
    if code == _RESET_REQUIRED:
        return (step("Stop what uses the GPUs, then reset them.", "sudo nvidia-smi --gpu-reset",
                     risk="ends every program on the GPUs"), reboot(host))
    if code == _GPU_LOST:
        return (step("Power the machine off and on; if it comes back, have the GPU, its power and its slot examined."),)
    if code == _BLOCKED:
        return (step("Look for the refusal.", "sudo dmesg | grep -iE 'NVRM|iommu|DMAR|AMD-Vi' | tail -n 30"),)
    return (
        step("See whether the node can be opened: EPERM is a control group, EACCES the mode, ENXIO no driver.",
             "dd if=/dev/nvidiactl count=0"),
        step("Read what the driver said.", "sudo dmesg | grep -E 'NVRM|Xid' | tail -n 30"),
        reboot(host),
    )
