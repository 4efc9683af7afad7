"""Ways out around Docker and NVIDIA's container toolkit that fit this machine's distribution."""

from gpudoctor.checking.finding import Step, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Docker
from gpudoctor.facts.host import Host
from gpudoctor.judging.remedies import fitting

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


def write_cdi(toolkit: ContainerToolkit | Unavailable) -> tuple[Step, ...]:
    """Write CDI's specification, by the toolkit's own service where it has one."""
    look = step("See what it lists.", "nvidia-ctk cdi list")
    if isinstance(toolkit, ContainerToolkit) and "nvidia-cdi-refresh.service" in toolkit.refresh_units:
        return (step("Write the CDI specification anew.", "sudo systemctl restart nvidia-cdi-refresh.service"), look)
    return (step("Write the CDI specification anew.", "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"),
            look)
