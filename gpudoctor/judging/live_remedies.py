"""Ways out of a path that was tried and failed."""

from gpudoctor.checking.finding import Step, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Docker
from gpudoctor.judging.docker_remedies import write_cdi
from gpudoctor.judging.gpu_paths import no_cgroups, reached
from gpudoctor.judging.live_paths import Verdict

_BY_PATH = {
    "--gpus": step("Ask by --gpus, in Compose by deploy.resources.reservations.devices: that was just seen to work.",
                   "docker run --gpus all IMAGE"),
    "runtime: nvidia": step("Ask by the nvidia runtime, in Compose by runtime: nvidia: that was just seen to work.",
                            "docker run --runtime nvidia -e NVIDIA_VISIBLE_DEVICES=all IMAGE"),
    "CDI": step("Ask by CDI's names, in Compose under devices: that was just seen to work.",
                "docker run --device nvidia.com/gpu=all IMAGE"),
}
_DEVICE_RULES = step("Let the toolkit set device rules again: only engines without root need no-cgroups.",
                     "sudo nvidia-ctk config --set nvidia-container-cli.no-cgroups=false --in-place")
_SEE_RULES = step("See whether the toolkit is told to leave device rules alone.",
                  "grep -n no-cgroups /etc/nvidia-container-runtime/config.toml")
_SEE_LIST = step("See the names that GPUs have here.", "nvidia-smi -L")
#: Part of the toolkit's text -> what to do.
_TOOLKIT_SAYS: tuple[tuple[str, Step], ...] = (
    ("driver not loaded", step("Load the driver on the host.", "sudo modprobe nvidia && nvidia-smi")),
    ("driver rpc error", step("See whether the host's own tools still reach the driver.", "nvidia-smi")),
    ("unknown device", _SEE_LIST),
    ("unsatisfied condition", step("Use an image of an older CUDA, or a newer driver.", "nvidia-smi")),
    ("load library failed", step("Let the loader know the driver's libraries.", "sudo ldconfig && nvidia-smi")),
    ("directly", step("Let the toolkit choose its mode.",
                      "sudo nvidia-ctk config --set nvidia-container-runtime.mode=auto --in-place")),
)
_SEE_TOOLKIT = step("Ask the toolkit itself.", "sudo nvidia-container-cli -k -d /dev/stderr info")


def remedies(
    path: str, found: Verdict, working: str | None, docker: Docker | Unavailable,
    toolkit: ContainerToolkit | Unavailable,
) -> tuple[Step, ...]:
    """Return the path that works first, then the repair of the one that failed."""
    instead = (_BY_PATH[working],) if working is not None and working in _BY_PATH else ()
    return (*instead, *_repair(path, found, docker, toolkit))


def _repair(
    path: str, found: Verdict, docker: Docker | Unavailable, toolkit: ContainerToolkit | Unavailable
) -> tuple[Step, ...]:
    cause = found.cause
    if cause == "cgroup":
        known = isinstance(toolkit, ContainerToolkit) and no_cgroups(toolkit)
        cdi = isinstance(docker, Docker) and reached("docker", "cdi-optional", docker.version)
        return (_DEVICE_RULES if known else _SEE_RULES, *(write_cdi(toolkit) if cdi and path != "CDI" else ()))
    if cause == "hook":
        return tuple(way for words, way in _TOOLKIT_SAYS if words in found.said)[:1] or (_SEE_TOOLKIT,)
    if cause == "spec" or (path == "CDI" and cause in ("no-nodes", "nothing-injected", "library", "fewer")):
        return write_cdi(toolkit)
    if cause == "mode":
        return (step("See owner and mode of the device files, and the image's user.", "ls -l /dev/nvidia*"),)
    if cause == "library":
        return (step("Compare the module with the library; after an upgrade, reboot.",
                     "cat /proc/driver/nvidia/version; nvidia-smi"),)
    if cause == "fewer":
        return (_SEE_LIST,)
    if cause == "bytes":
        return (step("Test every GPU of the host by itself.", "gpudoctor check --deep"),)
    if cause in ("cuda", "crashed", "nvml"):
        return (step("See whether the same works on the host.", "gpudoctor check --deep"),)
    return (_SEE_TOOLKIT,)
