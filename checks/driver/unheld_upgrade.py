"""Automatic upgrades can replace the driver under a running server.

## Why it matters
The upgrade replaces the library while the old kernel module stays loaded. Running servers go on; everything that starts
after it fails with "Driver/library version mismatch" until the next reboot, usually at night, when nobody looks.
On Ubuntu the driver comes through the security updates that are on by default; packages of a repository that was added
by hand are upgraded only where its origin was allowed.

## How to fix
Keep the driver's packages out of automatic upgrades, and upgrade them in a window with a reboot.

## References
- https://github.com/NVIDIA/nvidia-container-toolkit/issues/179
- https://documentation.ubuntu.com/server/how-to/software/automatic-updates/
- https://dnf-plugins-core.readthedocs.io/en/latest/versionlock.html
"""

import re
from collections.abc import Iterable, Iterator

from gpudoctor.checking import Finding, check, known, need, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver, Packages
from gpudoctor.facts.host import Host, Services
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import closed_gate, need_nvidia, need_own_system
from gpudoctor.judging.remedies import fitting

#: Packages whose upgrade alone parts the library from the loaded module.
_DRIVER = re.compile(
    r"nvidia-(?:driver|dkms|kernel|open|utils|compute-utils|headless|firmware|persistenced|smi|modprobe|legacy|tesla).*"
    r"|libnvidia-(?!container).*|libcuda1.*|cuda-drivers.*|kmod-nvidia.*|linux-(?:modules|objects)-nvidia-.*"
)
_LITERAL = re.compile(r"(?:[A-Za-z0-9+-]|\\[.+-])*")
_TIMERS = {"apt": "apt-daily-upgrade.timer", "dnf": "dnf-automatic.timer"}


@check(gatekeeper_of="packages")
def unheld_upgrade(
    packages: Packages | Unavailable,
    services: Services | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
) -> Iterator[Finding]:
    """Warn when upgrades run by themselves and some package of the driver is neither held nor excluded."""
    if isinstance(pci, Pci):
        need_nvidia(pci)
    if isinstance(packages, Unavailable):
        yield closed_gate("the package manager's records", packages)
        return
    need_nvidia(pci)
    need_own_system(host)
    ours = tuple(p for p in packages.installed if _DRIVER.fullmatch(p.name))
    loose = tuple(p.name for p in ours if not p.held and not excluded(p.name, packages.automatic_exclusions))
    seen = (
        saw("automatic upgrades", known(packages.automatic_upgrades), _source(packages.manager)),
        saw("driver packages", tuple(p.name for p in ours), _source(packages.manager)),
        saw("held", tuple(p.name for p in ours if p.held), _source(packages.manager)),
        saw("kept out of upgrades", packages.automatic_exclusions, _source(packages.manager)),
    )
    if packages.manager == "nix":
        yield skipped("host", "NixOS switches driver and libraries together, at a boot", evidence=seen)
    elif not need(packages.automatic_upgrades):
        yield passed("host", "nothing upgrades packages by itself", evidence=seen)
    elif _stopped(services, packages.manager):
        yield passed("host", "automatic upgrades are configured, but their timer is off", evidence=seen)
    elif loose or (packages.manager == "dnf" and _unlisted(packages, driver)):
        yield warned(
            "host",
            "automatic upgrades are on and would replace {names}",
            names=loose[:6] or ("the driver",), evidence=seen,
            fix=fitting(
                host,
                debian=step(
                    "Keep the driver out of automatic upgrades.",
                    "printf 'Unattended-Upgrade::Package-Blacklist {{ \"nvidia-\"; \"libnvidia-\"; \"libcuda1\"; "
                    "\"cuda-drivers\"; \"linux-modules-nvidia-\"; \"linux-objects-nvidia-\"; }};\\n' "
                    "| sudo tee /etc/apt/apt.conf.d/99-keep-nvidia-driver"),
                rhel=step("Lock the driver's version.",
                          "sudo dnf versionlock add 'nvidia-*' 'libnvidia-*' 'kmod-nvidia*' 'cuda-drivers*'"),
                other=step("Keep the driver's packages out of automatic upgrades; upgrade them with a reboot."),
            ),
        )
    elif not ours and packages.manager == "apt":
        yield passed("host", "automatic upgrades are on, but the driver did not come from packages", evidence=seen)
    else:
        yield passed("host", "automatic upgrades leave the driver alone", evidence=seen)


def excluded(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether an exclusion covers a package.

    APT's are regular expressions that match from the start, DNF's are globs or full package names. They come out of
    a recorded file, so only their literal beginning is compared; a hostile expression is never run.
    """
    for pattern in patterns:
        text = pattern[:200].lstrip("^(")
        found = _LITERAL.match(text.lstrip(".*)"))
        head = found[0] if found else ""
        literal = head.replace("\\", "")
        if len(literal) < 4:
            continue
        if literal == name or (name.startswith(literal) and not text.endswith(f"{head}$")):
            return True
        if (text.startswith((".*", "*")) and literal in name) or re.match(rf"{re.escape(name)}-\d", literal):
            return True
    return False


def _unlisted(packages: Packages, driver: Driver | Unavailable) -> bool:
    """Without RPM's list: true when a driver is loaded and no exclusion speaks of it."""
    loaded = known(driver.loaded_version) if isinstance(driver, Driver) else None
    return not packages.installed and loaded is not None and not any(
        word in pattern for pattern in packages.automatic_exclusions for word in ("nvidia", "cuda-drivers")
    )


def _stopped(services: Services | Unavailable, manager: str) -> bool:
    timer = services.unit(_TIMERS.get(manager, "")) if isinstance(services, Services) else None
    return timer is not None and timer.active == "inactive" and timer.enabled in ("disabled", "masked")


def _source(manager: str) -> str:
    return {"apt": "/var/lib/dpkg/status, /etc/apt/apt.conf.d", "dnf": "/etc/dnf"}.get(manager, manager)
