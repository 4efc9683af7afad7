"""Ways out around Docker and NVIDIA's container toolkit that fit this machine's distribution."""

from gpudoctor.checking.finding import Step, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Container, Docker
from gpudoctor.facts.host import Host
from gpudoctor.judging.gpu_paths import Cause, Paths, reached
from gpudoctor.judging.remedies import fitting
from gpudoctor.matrices import containers

_RESTARTS = "restarts every container without live-restore"


def install_docker(host: Host | Unavailable) -> tuple[Step, ...]:
    """Install Docker Engine."""
    return fitting(
        host,
        debian=step("Install Docker Engine, from Docker's own repository for the newest release.",
                    "sudo apt-get update && sudo apt-get install -y docker.io"),
        rhel=(
            step("Add Docker's repository.",
                 "sudo dnf config-manager --add-repo https://download.docker.com/linux/rhel/docker-ce.repo"),
            step("Install and start Docker Engine.",
                 "sudo dnf install -y docker-ce docker-ce-cli containerd.io docker-compose-plugin && "
                 "sudo systemctl enable --now docker"),
        ),
        nixos=step("Set virtualisation.docker.enable = true, then rebuild.", "sudo nixos-rebuild switch"),
        other=step("Install Docker Engine with your distribution's packages or from Docker's repository."),
    )


def install_toolkit(host: Host | Unavailable) -> tuple[Step, ...]:
    """Install NVIDIA's container toolkit from NVIDIA's repository."""
    return fitting(
        host,
        debian=(
            step("Add the key of NVIDIA's repository.",
                 "sudo install -d /etc/apt/keyrings && curl -fsSL https://nvidia.github.io/libnvidia-container/gpgkey "
                 "| sudo gpg --dearmor -o /etc/apt/keyrings/nvidia-container-toolkit.gpg"),
            step("Add the repository.",
                 "echo 'deb [signed-by=/etc/apt/keyrings/nvidia-container-toolkit.gpg] "
                 "https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH) /' "
                 "| sudo tee /etc/apt/sources.list.d/nvidia-container-toolkit.list"),
            step("Install the NVIDIA Container Toolkit.",
                 "sudo apt-get update && sudo apt-get install -y nvidia-container-toolkit"),
        ),
        rhel=(
            step("Add NVIDIA's repository.",
                 "sudo curl -fsSL -o /etc/yum.repos.d/nvidia-container-toolkit.repo "
                 "https://nvidia.github.io/libnvidia-container/stable/rpm/nvidia-container-toolkit.repo"),
            step("Install the NVIDIA Container Toolkit.", "sudo dnf install -y nvidia-container-toolkit"),
        ),
        nixos=step("Set hardware.nvidia-container-toolkit.enable = true, then rebuild.", "sudo nixos-rebuild switch"),
        other=step("Install the NVIDIA Container Toolkit: "
                   "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"),
    )


def upgrade_toolkit(host: Host | Unavailable, version: str) -> tuple[Step, ...]:
    """Bring the toolkit to a release or newer."""
    return fitting(
        host,
        debian=step("Bring the toolkit and its library to {version} or newer.",
                    "sudo apt-get update && sudo apt-get install -y --only-upgrade nvidia-container-toolkit "
                    "nvidia-container-toolkit-base libnvidia-container-tools libnvidia-container1", version=version),
        rhel=step("Bring the toolkit and its library to {version} or newer.",
                  "sudo dnf upgrade -y nvidia-container-toolkit nvidia-container-toolkit-base "
                  "libnvidia-container-tools libnvidia-container1", version=version),
        nixos=step("Update nixpkgs so that nvidia-container-toolkit is {version} or newer, then rebuild.",
                   "sudo nixos-rebuild switch --upgrade", version=version),
        other=step("Bring the NVIDIA Container Toolkit to {version} or newer.", version=version),
    )


def register_runtime(host: Host | Unavailable) -> tuple[Step, ...]:
    """Write the nvidia runtime into daemon.json."""
    return fitting(
        host,
        nixos=step("Set hardware.nvidia-container-toolkit.enable = true, then rebuild; containers then take GPUs "
                   "through CDI.", "sudo nixos-rebuild switch"),
        other=step("Register the nvidia runtime in daemon.json.", "sudo nvidia-ctk runtime configure --runtime=docker"),
    )


def restart_docker(docker: Docker | Unavailable) -> Step:
    """Restart the daemon, as this kind of engine does it."""
    kind = docker.kind if isinstance(docker, Docker) else "docker"
    if kind == "rootless":
        return step("Restart the daemon.", "systemctl --user restart docker", risk=_RESTARTS)
    if kind == "snap":
        return step("Restart the daemon.", "sudo snap restart docker", risk=_RESTARTS)
    if kind == "desktop":
        return step("Restart Docker Desktop.", risk="stops every container")
    return step("Restart the daemon.", "sudo systemctl restart docker", risk=_RESTARTS)


def write_cdi(toolkit: ContainerToolkit | Unavailable, path: str = "/etc/cdi/nvidia.yaml") -> tuple[Step, ...]:
    """Write CDI's specification, by the toolkit's own service where it has one; two of them would contradict."""
    look = step("See what it lists.", "nvidia-ctk cdi list")
    own = path in ("/etc/cdi/nvidia.yaml", "/var/run/cdi/nvidia.yaml")
    if own and isinstance(toolkit, ContainerToolkit) and "nvidia-cdi-refresh.service" in toolkit.refresh_units:
        return (step("Write the CDI specification anew.", "sudo systemctl restart nvidia-cdi-refresh.service"), look)
    return (step("Write the CDI specification anew.", "sudo nvidia-ctk cdi generate --output={path}", path=path), look)


def open_path(ways: Paths, docker: Docker, toolkit: ContainerToolkit, host: Host | Unavailable) -> tuple[Step, ...]:
    """Return the shortest way to one working path, by what stands in the way of them."""
    causes: set[Cause] = {way.cause for way in ways}
    restart = restart_docker(docker)
    if docker.kind == "podman":
        return write_cdi(toolkit) if toolkit.version is not None else (*install_toolkit(host), *write_cdi(toolkit))
    if docker.kind == "desktop":
        return (step("Use Docker Engine on the host itself: Docker Desktop's virtual machine has no GPUs under Linux."),
                *install_docker(host))
    if "restart" in causes:
        return (restart,)
    if "confined" in causes:
        return leave_snap()
    if "no-cgroups" in causes:
        return (step("Let the toolkit set device rules again: only engines without root need no-cgroups.",
                     "sudo nvidia-ctk config --set nvidia-container-cli.no-cgroups=false --in-place"),)
    if "rootless" in causes:
        return leave_root(docker)
    if "no-toolkit" in causes:
        return (*install_toolkit(host), *register_runtime(host), restart)
    if "mode" in causes and not ways.runtime.works:
        return (step("Let the toolkit choose its mode.",
                     "sudo nvidia-ctk config --set nvidia-container-runtime.mode=auto --in-place"),
                *register_runtime(host), restart)
    if "not-registered" in causes:
        return (*register_runtime(host), restart)
    return write_cdi(toolkit)


def leave_snap() -> tuple[Step, ...]:
    """Replace the snap by Docker's own packages."""
    return (
        step("Remove the snap, then install Docker from Docker's own repository: "
             "https://docs.docker.com/engine/install/", "sudo snap remove docker",
             risk="ends every container and removes the snap's images"),
    )


def leave_root(docker: Docker) -> tuple[Step, ...]:
    """Let an engine without root take GPUs: CDI where it knows CDI, else no-cgroups."""
    if reached("docker", "cdi-optional", docker.version):
        return (step("Let it take GPUs through CDI.", "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"),
                step("Then ask by CDI's names.", "docker run --device nvidia.com/gpu=all IMAGE"))
    return (step("Tell the toolkit to leave device rules alone; engines with root here then get no usable GPU.",
                 "sudo nvidia-ctk config --set nvidia-container-cli.no-cgroups --in-place"),)


def compose_file(container: Container) -> str | None:
    """Return the first Compose file of a container, None when it is not Compose's."""
    files = container.labels.get("com.docker.compose.project.config_files", "")
    return files.partition(",")[0] or None


def recreate(container: Container) -> Step:
    """Give a container its devices anew."""
    file, service = compose_file(container), container.labels.get("com.docker.compose.service")
    if file and service:
        return step("Recreate the container: that brings its GPUs back, until the next time.",
                    "docker compose -f {file} up -d --force-recreate {service}", risk="restarts the service",
                    file=file, service=service)
    return step("Restart the container: that brings its GPUs back, until the next time.", "docker restart {container}",
                risk="restarts the service", container=container.name)


def keep_gpus(docker: Docker, toolkit: ContainerToolkit | Unavailable, host: Host | Unavailable) -> tuple[Step, ...]:
    """Let containers keep their GPUs for good: by a path that the engine itself knows of."""
    version = toolkit.version if isinstance(toolkit, ContainerToolkit) else None
    newest = containers.table().newest_toolkit
    ways: list[Step] = []
    if reached("toolkit", "jit-cdi", version) is False:
        ways.append(step("For good: from toolkit 1.18 on, runtime: nvidia hands GPUs over through CDI, which the "
                         "engine remembers."))
        ways += upgrade_toolkit(host, newest)
    if reached("docker", "cdi-optional", docker.version):
        ways.append(step("Or ask for the GPUs by their CDI names, in Compose under devices.",
                         "docker run --device nvidia.com/gpu=all IMAGE"))
    ways.append(step("Or name every device beside --gpus, and see that /dev/char has their links.",
                     "sudo nvidia-ctk system create-dev-char-symlinks --create-all"))
    ways.append(step('Or let Docker manage cgroups itself: "exec-opts": ["native.cgroupdriver=cgroupfs"] in '
                     "daemon.json; that helps against reloads, not against updates of the container."))
    return tuple(ways)


def other_path(ways: Paths, docker: Docker) -> tuple[Step, ...]:
    """Ask by a path that works, for a service that asks by one that does not."""
    program = "podman" if docker.kind == "podman" else "docker"
    if ways.gpus.works:
        return (step("Ask by --gpus, in Compose by deploy.resources.reservations.devices: that works here.",
                     "{program} run --gpus all IMAGE", program=program),)
    if ways.runtime.works:
        return (step("Ask by the nvidia runtime, in Compose by runtime: nvidia: that works here.",
                     "{program} run --runtime nvidia -e NVIDIA_VISIBLE_DEVICES=all IMAGE", program=program),)
    if ways.cdi.works:
        return (step("Ask by CDI's names, in Compose under devices: that works here.",
                     "{program} run --device nvidia.com/gpu=all IMAGE", program=program),)
    return ()
