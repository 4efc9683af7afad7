"""Compose is too old to reserve GPUs.

## Why it matters
Compose v1 ended in 2023; it knows neither `gpus` nor all of the device reservations, and refuses the file.

## How to fix
Install the plug-in and call it as `docker compose`.

## References
- https://docs.docker.com/compose/install/linux/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, known, need, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.docker import Docker
from gpudoctor.facts.host import Host
from gpudoctor.judging.gpu_paths import reached
from gpudoctor.judging.remedies import fitting


@check()
def compose_v1(
    docker: Docker, compose: Compose | Unavailable, host: Host | Unavailable, target: Target
) -> Iterator[Finding]:
    """Tell which Compose is here: the plug-in, only the old program, or none."""
    wanted = isinstance(compose, Compose)
    fix = fitting(
        host,
        debian=step("Install the plug-in from Docker's repository and call it as docker compose.",
                    "sudo apt-get install -y docker-compose-plugin"),
        rhel=step("Install the plug-in from Docker's repository and call it as docker compose.",
                  "sudo dnf install -y docker-compose-plugin"),
        nixos=step("Add pkgs.docker-compose to environment.systemPackages, then rebuild.", "sudo nixos-rebuild switch"),
        other=step("Install Compose v2: https://docs.docker.com/compose/install/linux/"),
    )
    version = need(docker.compose_version)
    old = known(docker.compose_v1_path)
    seen = (saw("docker compose", version, "plug-in"), saw("docker-compose", old, "PATH"))
    if version is not None and reached("compose", "gpus-attribute", version) is False and _uses_gpus(compose):
        yield failed("host", "Compose {version} does not know gpus: in a service; 2.30 is the first", version=version,
                     evidence=seen, fix=fix)
    elif version is not None:
        yield passed("host", "Compose {version}", version=version, evidence=seen)
    elif old is not None:
        said = failed if wanted else warned
        yield said("host", "only Compose v1 is here ({path}): it ended in 2023 and does not know all GPU requests",
                   path=old, evidence=seen, fix=fix)
    elif wanted:
        yield failed("host", "a Compose file shall run, and Compose is not installed", evidence=seen, fix=fix)
    elif target.installing:
        yield noted("host", "Compose is not installed yet", evidence=seen, fix=fix)
    else:
        yield skipped("host", "Compose is not installed, and no Compose file was named")


def _uses_gpus(compose: Compose | Unavailable) -> bool:
    return isinstance(compose, Compose) and any(r.form == "gpus" for s in compose.services for r in s.requests)
