"""The three paths by which a GPU gets into a container, and for each whether it works here and why not.

``--gpus`` (a device reservation of Compose) is served by the daemon itself: a hook on its PATH, from Docker 29.2 on CDI
first. ``runtime: nvidia`` is a program registered with the daemon. CDI is a specification on disk that the engine
injects itself. Each can work without the others.
"""

from datetime import datetime
from typing import Literal, NamedTuple

from gpudoctor.checking.finding import Evidence, saw
from gpudoctor.checking.needs import known
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import CdiSpec, ContainerToolkit
from gpudoctor.facts.docker import Docker
from gpudoctor.matrices import containers
from gpudoctor.matrices.versions import release

Name = Literal["--gpus", "runtime: nvidia", "CDI"]
#: Why a path does not work, for the checks that know the remedy; ``ok`` where it does.
Cause = Literal["ok", "no-toolkit", "restart", "not-registered", "hook-not-seen", "mode", "no-cgroups", "no-spec",
                "spec-broken", "cdi-off", "engine-too-old", "confined", "rootless", "ignored", "not-read"]
HOOK, CDI_HOOK, RUNTIME = "nvidia-container-runtime-hook", "nvidia-cdi-hook", "nvidia-container-runtime"
KIND = "nvidia.com/gpu"
_SLACK_SECONDS = 5


class GpuPath(NamedTuple):
    """One path. ``works`` None: not known. ``by`` is what injects: ``hook``, ``legacy``, ``jit-cdi``, ``cdi``."""

    name: Name
    works: bool | None
    cause: Cause
    why: str
    by: str | None = None

    @property
    def words(self) -> str:
        """``works (hook)`` or ``cannot: ...``."""
        if self.works:
            return f"works ({self.why})"
        return f"cannot: {self.why}" if self.works is False else f"not known: {self.why}"


class Paths(NamedTuple):
    """The three of them."""

    gpus: GpuPath
    runtime: GpuPath
    cdi: GpuPath

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The table of the three paths."""
        return tuple(saw(each.name, each.words, "docker info, toolkit") for each in self)

    def named(self, name: Name) -> GpuPath:
        """Return one of them."""
        return next(each for each in self if each.name == name)


def paths(docker: Docker, toolkit: ContainerToolkit) -> Paths:
    """Judge the three paths for new containers of this engine as it runs now."""
    cdi = _cdi(docker, toolkit)
    runtime = _runtime(docker, toolkit, cdi)
    return Paths(_gpus(docker, toolkit, cdi), runtime, cdi)


def reached(product: containers.Product, key: str, version: str | Unavailable | None) -> bool | None:
    """Tell whether a release has something, None when the release is not known."""
    return containers.has(product, key, version) if isinstance(version, str) else None


def runtime_mode(toolkit: ContainerToolkit) -> str | None:
    """Return how the nvidia runtime injects: ``legacy``, ``cdi``, ``csv``, ``jit-cdi``; None when it is not known."""
    config = toolkit.config
    mode = None if config is None or isinstance(config, Unavailable) else config.mode
    if isinstance(config, Unavailable) and not config.harmless:
        return None
    if mode not in (None, "", "auto"):
        return mode
    jit = reached("toolkit", "jit-cdi", toolkit.version)
    return None if jit is None else "jit-cdi" if jit else "legacy"


def no_cgroups(toolkit: ContainerToolkit) -> bool:
    """True if the toolkit is told to leave device rules alone, as rootless engines need it."""
    config = toolkit.config
    return config is not None and not isinstance(config, Unavailable) and bool(config.no_cgroups)


def gpu_specs(docker: Docker | None, toolkit: ContainerToolkit) -> tuple[CdiSpec, ...]:
    """Return the specifications of NVIDIA's GPUs in the folders that the engine reads, unreadable ones included."""
    specs = known(toolkit.cdi_specs) or ()
    folders = known(docker.cdi_spec_dirs) if docker is not None else None
    read = tuple(s for s in specs if not folders or any(s.path.startswith(f"{f.rstrip('/')}/") for f in folders))
    return tuple(s for s in read if s.kind == KIND or (s.kind is None and s.failure))


def _cdi(docker: Docker, toolkit: ContainerToolkit) -> GpuPath:
    def no(cause: Cause, why: str) -> GpuPath:
        return GpuPath("CDI", False, cause, why)

    podman = docker.kind == "podman"
    if not podman and reached("docker", "cdi-optional", docker.version) is False:
        return no("engine-too-old", f"Docker {docker.version} has no CDI; 25.0 is the first")
    found = known(docker.cdi_devices)
    devices = tuple(d for d in found or () if d.startswith(f"{KIND}="))
    specs = gpu_specs(docker, toolkit)
    broken = next((s for s in specs if s.failure or s.missing), None)
    if broken is not None and broken.missing and not broken.failure:
        return no("spec-broken", f"{broken.path} names {broken.missing[0]}, which is not there")
    if devices:
        return GpuPath("CDI", True, "ok", f"{len(devices)} names of {KIND}", "cdi")
    folders = known(docker.cdi_spec_dirs)
    if not podman and folders is not None and not folders:
        default = reached("docker", "cdi-default", docker.version)
        why = "features.cdi is false in daemon.json" if default else "features.cdi is not true in daemon.json"
        return no("cdi-off", why)
    if not podman and folders is None and found is None and not isinstance(docker.version, str):
        return GpuPath("CDI", None, "not-read", "the engine does not say its version")
    if isinstance(toolkit.cdi_specs, Unavailable) and found is None:
        return GpuPath("CDI", None, "not-read", toolkit.cdi_specs.reason)
    if broken is not None:
        return no("spec-broken", f"{broken.path}: {broken.failure}")
    usable = next((s for s in specs if s.devices), None)
    if usable is None:
        return no("no-spec", f"no specification lists {KIND}")
    if found is not None:
        return no("spec-broken", f"the engine does not take {usable.path}")
    engine = "podman" if podman else "docker"
    seven = usable.version is not None and (release(usable.version) or release("0")) >= release("0.7")  # type: ignore[operator]
    if seven and isinstance(docker.version, str) and containers.reads_cdi_0_7(engine, docker.version) is False:
        return no("engine-too-old", f"{usable.path} is of CDI {usable.version}, which {engine} {docker.version} "
                  "cannot read")
    return GpuPath("CDI", True, "ok", usable.path, "cdi")


def _runtime(docker: Docker, toolkit: ContainerToolkit, cdi: GpuPath) -> GpuPath:
    name: Name = "runtime: nvidia"

    def no(cause: Cause, why: str) -> GpuPath:
        return GpuPath(name, False, cause, why)

    if isinstance(docker.runtimes, Unavailable):
        return GpuPath(name, None, "not-read", docker.runtimes.reason)
    if docker.runtime("nvidia") is None:
        return _unregistered(docker, toolkit)
    own = docker.kind == "snap"  # A snap brings a toolkit of its own, which does not lie on the host.
    if toolkit.version is None and toolkit.program(RUNTIME) is None and not own:
        return no("no-toolkit", "it is registered, but nvidia-container-runtime is not installed")
    mode = "legacy" if own else runtime_mode(toolkit)
    if mode == "cdi" and not cdi.works:
        return no(cdi.cause, f"its mode is cdi, and for CDI {cdi.why}") if cdi.works is False else GpuPath(
            name, None, "not-read", cdi.why)
    if mode == "legacy" and (hooked := _hook_rights(docker, toolkit)) is not None:
        return no(*hooked)
    default = ", the default runtime" if docker.default_runtime == "nvidia" else ""
    return GpuPath(name, True, "ok", f"mode {mode or 'not known'}{default}", mode or "legacy")


def _unregistered(docker: Docker, toolkit: ContainerToolkit) -> GpuPath:
    name: Name = "runtime: nvidia"
    if docker.kind == "podman":
        return GpuPath(name, False, "not-registered", "podman knows no runtime nvidia")
    if docker.kind == "snap":
        return GpuPath(name, False, "confined", "the snap's daemon has none, and does not see the toolkit on this host")
    if _registered_on_disk(toolkit):
        return GpuPath(name, False, "restart", "daemon.json names it, and the daemon has not read it since")
    if toolkit.version is None and toolkit.program(RUNTIME) is None:
        return GpuPath(name, False, "no-toolkit", "the NVIDIA Container Toolkit is not installed")
    return GpuPath(name, False, "not-registered", "it is not registered with the daemon")


def _registered_on_disk(toolkit: ContainerToolkit) -> bool:
    file = toolkit.daemon_file
    return file is not None and not isinstance(file, Unavailable) and "nvidia" in file.runtimes


def _hook_rights(docker: Docker, toolkit: ContainerToolkit) -> tuple[Cause, str] | None:
    """Say why the hook's own device rules fail here, None when they do not."""
    rootless = docker.kind == "rootless" or any("rootless" in option for option in docker.security_options)
    if rootless and not no_cgroups(toolkit):
        return "rootless", "without root the hook may not change device rules (no-cgroups is not set)"
    if not rootless and no_cgroups(toolkit):
        return "no-cgroups", "no-cgroups = true: GPUs arrive and may not be opened (NVML: Unknown Error)"
    return None


def _gpus(docker: Docker, toolkit: ContainerToolkit, cdi: GpuPath) -> GpuPath:
    name: Name = "--gpus"

    def no(cause: Cause, why: str) -> GpuPath:
        return GpuPath(name, False, cause, why)

    if docker.kind == "podman":
        return _podman(docker, cdi)
    if docker.kind == "desktop":
        return GpuPath(name, None, "not-read", "Docker Desktop runs its engine in a virtual machine")
    if reached("docker", "gpus-flag", docker.version) is False:
        return no("engine-too-old", f"Docker {docker.version} has no --gpus; 19.03 is the first")
    if cdi_first(docker, toolkit, cdi):
        return GpuPath(name, True, "ok", "CDI, which Docker tries first since 29.2", "cdi")
    if docker.kind == "snap":
        if docker.runtime("nvidia") is not None:
            return GpuPath(name, None, "not-read", "the snap's own toolkit cannot be seen from here")
        return no("confined", "the snap's daemon does not see the toolkit on this host")
    seen = _on_path(toolkit, HOOK)
    if toolkit.program(HOOK) is None:
        if isinstance(toolkit.version, Unavailable):
            return GpuPath(name, None, "not-read", toolkit.version.reason)
        if toolkit.version is None:
            return no("no-toolkit", "the NVIDIA Container Toolkit is not installed")
        return no("hook-not-seen", f"{HOOK} is not installed")
    if seen is False:
        return no("hook-not-seen", f"{HOOK} is not on the daemon's PATH")
    if hook_is_newer(docker, toolkit):
        why = "the toolkit was installed or updated after the daemon started, which looks for it only then"
        # An entry in daemon.json that the daemon has not read, too: then it was no update.
        return GpuPath(name, False if _registered_on_disk(toolkit) else None, "restart", why)
    if (refused := _hook_refuses(docker, toolkit)) is not None:
        return no("mode", refused)
    if (hooked := _hook_rights(docker, toolkit)) is not None:
        return no(*hooked)
    if seen is None:
        return GpuPath(name, None, "not-read", "the daemon's PATH could not be read")
    return GpuPath(name, True, "ok", "hook on the daemon's PATH", "hook")


def _podman(docker: Docker, cdi: GpuPath) -> GpuPath:
    version = release(docker.version) if isinstance(docker.version, str) else None
    if version is None:
        return GpuPath("--gpus", None, "not-read", "podman's version is not known")
    if version.major < 5:
        return GpuPath("--gpus", False, "ignored", f"podman {docker.version} ignores it silently; 5.0 takes it as CDI")
    return GpuPath("--gpus", cdi.works, cdi.cause, f"podman takes it as CDI: {cdi.why}", "cdi")


def cdi_first(docker: Docker, toolkit: ContainerToolkit, cdi: GpuPath) -> bool:
    """True if this engine serves --gpus through CDI: since 29.2, with nvidia-cdi-hook on the daemon's PATH."""
    modern = reached("docker", "gpus-through-cdi", docker.version)
    return bool(modern and cdi.works and _on_path(toolkit, CDI_HOOK) is not False)


def _on_path(toolkit: ContainerToolkit, name: str) -> bool | None:
    program = toolkit.program(name)
    if program is None or not program.executable:
        return False
    return known(program.on_daemon_path)


def _hook_refuses(docker: Docker, toolkit: ContainerToolkit) -> str | None:
    """The hook ends with "not supported" when the toolkit's mode is another than legacy."""
    config = toolkit.config
    if config is None or isinstance(config, Unavailable) or config.skip_mode_detection:
        return None
    if docker.default_runtime == "nvidia" or config.mode not in ("cdi", "csv"):
        return None
    return f'the hook refuses: {config.path} has mode = "{config.mode}"'


def hook_is_newer(docker: Docker, toolkit: ContainerToolkit) -> bool:
    """True if the toolkit was put here after the daemon started, and nothing shows that one was there before.

    The daemon looks for the hook once. An update of the toolkit changes its time as well; a registered runtime is the
    trace of a toolkit that was there when the daemon started.
    """
    hook = toolkit.program(HOOK)
    started, changed = known(docker.started), known(toolkit.installed_at) or (known(hook.changed) if hook else None)
    return bool(started and changed and _later(changed, started) and docker.runtime("nvidia") is None)


def _later(time: str, than: str) -> bool:
    """True if a time is surely the later: the start of a process is counted from a boot time of whole seconds."""
    try:
        first, second = (datetime.fromisoformat(text[:19]) for text in (than, time))
    except ValueError:
        return False
    return (second - first).total_seconds() > _SLACK_SECONDS
