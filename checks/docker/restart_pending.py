"""The toolkit was installed or configured after Docker's daemon started.

## Why it matters
The daemon looks for the toolkit, and reads daemon.json, only when it starts. Until then everything is in place and
nothing works.

## How to fix
Restart the daemon.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, check, failed, known, passed, saw, skipped, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import ContainerToolkit, DaemonFile
from gpudoctor.facts.docker import Docker
from gpudoctor.judging.docker_remedies import restart_docker
from gpudoctor.judging.gpu_paths import paths


@check()
def restart_pending(docker: Docker, container_toolkit: ContainerToolkit) -> Iterator[Finding]:
    """Compare daemon.json and the toolkit on disk with what the running daemon says."""
    file = container_toolkit.daemon_file
    if docker.kind in ("podman", "snap", "desktop"):
        yield skipped("host", "{kind} does not read daemon.json of this host", kind=docker.kind)
        return
    started = saw("the daemon runs since", known(docker.started), "/proc")
    fix = restart_docker(docker)
    differs = _differences(docker, file) if isinstance(file, DaemonFile) and file.failure is None else ()
    ways = paths(docker, container_toolkit)
    waiting = any(way.cause == "restart" for way in ways)
    if isinstance(file, DaemonFile) and file.failure is not None:
        yield warned("host", "{path} cannot be read by the daemon at its next start: {failure}", path=file.path,
                     failure=file.failure, evidence=started, fix=fix)
    elif waiting and not any(way.works for way in ways):
        yield failed("host", "the toolkit was installed or registered after the daemon started: no container gets a "
                     "GPU before it is restarted", evidence=(started, *differs, *ways.evidence), fix=fix)
    elif differs or waiting:
        yield warned("host", "the daemon runs with other settings than the files say", fix=fix,
                     evidence=(started, *differs, *(ways.evidence if waiting else ())))
    elif isinstance(file, Unavailable):
        yield skipped("host", "daemon.json could not be read: {reason}", reason=file.reason)
    else:
        yield passed("host", "the daemon runs with what its files say", evidence=started)


def _differences(docker: Docker, file: DaemonFile) -> tuple[Evidence, ...]:
    """Name settings of the file that the running daemon does not have. Flags of dockerd may add, so the reverse is not
    judged.
    """
    found: list[Evidence] = []
    if not isinstance(docker.runtimes, Unavailable):
        missing = tuple(name for name in file.runtimes if docker.runtime(name) is None)
        if missing:
            found.append(saw("runtimes not in the daemon", missing, file.path))
    for what, written, running in (("default runtime", file.default_runtime, docker.default_runtime),
                                   ("cgroup driver", file.cgroup_driver, docker.cgroup_driver)):
        if written and isinstance(running, str) and written != running:
            found.append(saw(what, f"{written}, the daemon has {running}", file.path))
    if file.cdi is not None and isinstance(docker.cdi_spec_dirs, tuple) and file.cdi != bool(docker.cdi_spec_dirs):
        found.append(saw("features.cdi", f"{str(file.cdi).lower()}, the daemon says otherwise", file.path))
    return tuple(found)
