"""A limit for processes started from here is too low for a model server.

## Why it matters
A busy server holds a connection per user and a descriptor per weight file and socket; at the limit it refuses
connections with "Too many open files". RDMA needs memory that may be locked without limit: NCCL over InfiniBand
otherwise fails with "Cannot allocate memory". Several GPUs of one model talk through /dev/shm, of which a container has
64 MB by default.

The rule: a *hard* limit of open files below 65,536 (ours) is a warning. The soft limit is not judged, because Ollama
(the Go runtime) and vLLM raise it to the hard one themselves. Locked memory is judged only where an RDMA port is
active, shared memory only inside a container that sees several GPUs. Limits of other services and containers are
their own (`LimitNOFILE=`, `--ulimit`).

## How to fix
Raise the limit where the server is started: the systemd unit, `/etc/security/limits.d`, or the container's `--ulimit`
and `--shm-size`.

## References
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
- https://github.com/vllm-project/vllm/issues/1710
- https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, Target, check, known, passed, saw, skipped, step, unknown, warned
from gpudoctor.checking.finding import Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host, Limits
from gpudoctor.facts.network import FabricPorts
from gpudoctor.judging.remedies import fitting

SOURCE = "getrlimit"


@check(gatekeeper_of="limits")
def limits_low(
    limits: Limits | Unavailable,
    host: Host | Unavailable,
    fabric_ports: FabricPorts | Unavailable,
    gpus: Gpus | Unavailable,
    target: Target,
    policy: Policy,
) -> Iterator[Finding]:
    """Judge each limit where something here runs into it."""
    if isinstance(limits, Unavailable):
        said = skipped if limits.harmless else unknown
        yield said("host", "the limits could not be read: {reason}", reason=limits.reason)
        return
    low = [
        finding
        for finding in (
            _open_files(limits, host, policy),
            _locked_memory(limits, host, fabric_ports),
            _shared_memory(limits, host, gpus, target, policy),
            _processes(limits, policy),
        )
        if finding is not None
    ]
    yield from low
    if not low:
        yield passed(
            "host",
            "limits are wide enough: {files} open files",
            files=_told(limits.open_files_hard),
            evidence=(
                saw("open files, soft", _told(limits.open_files_soft), SOURCE),
                saw("open files, hard", _told(limits.open_files_hard), SOURCE),
                saw("locked memory, soft", _told(limits.memlock_soft_bytes), SOURCE),
                saw("/dev/shm bytes", known(limits.shm_bytes), "statvfs"),
            ),
        )


def _told(value: int | None) -> str:
    return "unlimited" if value is None else str(value)


def _open_files(limits: Limits, host: Host | Unavailable, policy: Policy) -> Finding | None:
    hard = limits.open_files_hard
    if hard is None or hard >= policy["open_files_warn"]:
        return None
    return warned(
        "host",
        "at most {files} files may be open at once",
        files=hard,
        evidence=saw("open files, soft / hard", f"{_told(limits.open_files_soft)} / {hard}", SOURCE),
        fix=_raise(host, step("Set it for every login of this machine.",
                              "echo '* - nofile 1048576' | sudo tee /etc/security/limits.d/90-nofile.conf",
                              risk="holds from the next login on"),
                   step("Start the container with --ulimit nofile=1048576:1048576 (Compose: ulimits: nofile).")),
    )


def _locked_memory(limits: Limits, host: Host | Unavailable, ports: FabricPorts | Unavailable) -> Finding | None:
    soft = limits.memlock_soft_bytes
    active = isinstance(ports, FabricPorts) and any(port.state.upper() == "ACTIVE" for port in ports.ports)
    if soft is None or not active:
        return None
    return warned(
        "host",
        "only {soft:bytes} may be locked, and RDMA needs it without limit",
        soft=soft,
        evidence=saw("locked memory bytes", soft, SOURCE),
        fix=_raise(host, step("Set it for every login of this machine.",
                              "echo '* - memlock unlimited' | sudo tee /etc/security/limits.d/90-memlock.conf",
                              risk="holds from the next login on"),
                   step("Start the container with --ulimit memlock=-1 (Compose: ulimits: memlock).")),
    )


def _shared_memory(
    limits: Limits, host: Host | Unavailable, gpus: Gpus | Unavailable, target: Target, policy: Policy
) -> Finding | None:
    shm = known(limits.shm_bytes)
    inside = isinstance(host, Host) and host.container is not None
    count = sum(target.chosen(gpu.index) for gpu in gpus.answering) if isinstance(gpus, Gpus) else 0
    if shm is None or not inside or count < 2 or shm >= policy["shm_min_bytes"]:
        return None
    return warned(
        "host",
        "this container has {shm:bytes} of shared memory for {count} GPUs",
        shm=shm,
        count=count,
        evidence=saw("/dev/shm bytes", shm, "statvfs"),
        fix=step("Start it with --shm-size=16g or --ipc=host (Compose: shm_size: 16gb, or ipc: host)."),
    )


def _processes(limits: Limits, policy: Policy) -> Finding | None:
    if limits.pids_max is None or limits.pids_max >= policy["pids_warn"]:
        return None
    return warned(
        "host",
        "at most {pids} processes and threads may run here",
        pids=limits.pids_max,
        evidence=saw("pids.max", limits.pids_max, "/sys/fs/cgroup"),
        fix=step("Raise it: --pids-limit of the container, TasksMax= of the service."),
    )


def _raise(host: Host | Unavailable, login: Step, container: Step) -> tuple[Step, ...]:
    if isinstance(host, Host) and host.container is not None:
        return (container,)
    unit = step("For a service, set LimitNOFILE= and LimitMEMLOCK= in its unit, then restart it.")
    nixos = step("Set security.pam.loginLimits, or the unit's serviceConfig, in the configuration; then rebuild.",
                 "sudo nixos-rebuild switch")
    return fitting(host, other=(unit, login), nixos=nixos)
