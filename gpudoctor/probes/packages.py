"""The package manager's files: what is installed, held, upgraded by itself, and waiting for a reboot."""

import configparser
import re
from collections.abc import Iterable, Iterator

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Package, Packages
from gpudoctor.probes.apt_config import AptConfig, flag, parse_apt_config
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("packages",)
OPTIONS: tuple[str, ...] = ()

_STATUS = "/var/lib/dpkg/status"
_STATUS_BYTES = 128 << 20
_MAX_PACKAGES = 1024
_MAX_EXCLUSIONS = 1024

#: The driver, its modules, and what puts GPUs into containers.
_OURS = re.compile(
    r"(?:lib)?nvidia-.*|nvidia|libcuda1|libcudadebugger1|libnvoptix1|libnvcuvid1|cuda-drivers.*"
    r"|(?:xserver-xorg-video|linux-(?:modules|objects|signatures))-nvidia.*"
    r"|amdgpu-dkms|rocm|rocm-core|docker-ce|docker\.io|containerd\.io|containerd"
)
_STANZA = re.compile(r"^(Status|Version): *(.*)$", re.MULTILINE)


def probe(out: Reporter, root: Root) -> None:
    """Fill ``packages`` from whichever package manager's records are there."""
    facts = read_packages(root)
    if isinstance(facts, Unavailable):
        out.unavailable("packages", facts.reason, facts.kind)
    else:
        out.section("packages", facts)


def read_packages(root: Root) -> Packages | Unavailable:
    """Read the records of APT, DNF or Nix."""
    status = root.read(_STATUS, _STATUS_BYTES)
    if status:
        return _apt(root, status)
    if any(root.exists(f"{base}/rpmdb.sqlite") or root.exists(f"{base}/Packages") or root.exists(f"{base}/Packages.db")
           for base in ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm")):
        return _dnf(root)
    if root.exists("/nix/store") and root.exists("/run/current-system"):
        return _nix(root)
    return Unavailable("no package manager that gpudoctor knows (APT, DNF, Nix) keeps records here", "not-applicable")


def _reads(root: Root, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        try:
            text = root.read(name)
        except PermissionError:
            continue
        if text:
            yield text


def _apt(root: Root, status: str) -> Packages:
    packages = parse_dpkg_status(status)
    config = parse_apt_config(_reads(root, (*root.glob("/etc/apt/apt.conf.d/*"), "/etc/apt/apt.conf")))
    return Packages(
        manager="apt",
        installed=packages,
        automatic_upgrades=unattended(config) and root.exists("/usr/bin/unattended-upgrade"),
        automatic_exclusions=tuple(config.get("unattended-upgrade::package-blacklist", ())[:_MAX_EXCLUSIONS]),
        reboot_required=_reboot_required(root),
        reboot_packages=_reboot_packages(root),
    )


def parse_dpkg_status(text: str) -> tuple[Package, ...]:
    """Read dpkg's status file: ``hold ok installed`` is how ``apt-mark hold`` is kept."""
    found: list[Package] = []
    for stanza in text.split("\n\n"):
        start = stanza.lstrip("\n")
        name = start[9 : start.find("\n")].strip() if start.startswith("Package: ") else ""
        if not _OURS.fullmatch(name):
            continue
        fields = {match[1]: match[2].strip() for match in _STANZA.finditer(stanza)}
        wanted, _, state = fields.get("Status", "").partition(" ")
        if state.endswith(" installed"):
            found.append(Package(name=name, version=fields.get("Version", ""), held=wanted == "hold"))
    return tuple(found[:_MAX_PACKAGES])


def unattended(config: AptConfig) -> bool:
    """Tell whether APT's daily job upgrades by itself."""
    enabled = flag(config, "APT::Periodic::Enable")
    return enabled is not False and flag(config, "APT::Periodic::Unattended-Upgrade") is True


def _reboot_required(root: Root) -> bool | Unavailable:
    if root.exists("/run/reboot-required") or root.exists("/var/run/reboot-required"):
        return True
    hooks = ("/usr/share/update-notifier/notify-reboot-required", "/etc/kernel/postinst.d/update-notifier",
             "/etc/kernel/postinst.d/unattended-upgrades")
    if any(root.exists(hook) for hook in hooks):
        return False
    return Unavailable("nothing here marks that a reboot is due (update-notifier, unattended-upgrades)",
                       "not-supported")


def _reboot_packages(root: Root) -> tuple[str, ...]:
    text = next(_reads(root, ("/run/reboot-required.pkgs", "/var/run/reboot-required.pkgs")), "")
    return tuple(dict.fromkeys(line.strip()[:200] for line in text.splitlines() if line.strip()))[:64]


def _dnf(root: Root) -> Packages:
    exclusions = [
        *_versionlocks(root),
        *(word for text in _reads(root, ("/etc/dnf/dnf.conf", "/etc/yum.conf")) for word in dnf_excludes(text)),
    ]
    return Packages(
        manager="dnf",
        automatic_upgrades=_dnf_automatic(root),
        automatic_exclusions=tuple(dict.fromkeys(exclusions))[:_MAX_EXCLUSIONS],
        reboot_required=Unavailable("DNF leaves no mark that a reboot is due", "not-supported"),
    )


def _versionlocks(root: Root) -> Iterator[str]:
    lists = ("/etc/dnf/plugins/versionlock.list", "/etc/yum/pluginconf.d/versionlock.list")
    for text in _reads(root, lists):
        for line in text.splitlines():
            line = line.strip()
            if line and not line.startswith(("#", "!")):
                yield line
    for text in _reads(root, ("/etc/dnf/versionlock.toml",)):
        for match in re.finditer(r'^\s*name\s*=\s*"([^"\n]{1,200})"', text, re.MULTILINE):
            yield match[1]


def dnf_excludes(text: str) -> list[str]:
    """Return the names that ``exclude`` or ``excludepkgs`` of dnf.conf keeps from upgrades."""
    words: list[str] = []
    for option in ("exclude", "excludepkgs"):
        words.extend(w for w in re.split(r"[\s,]+", _setting(text, "main", option) or "") if w)
    return words


def _setting(text: str, section: str, option: str) -> str | None:
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return parser.get(section, option, fallback=None)


def _dnf_automatic(root: Root) -> bool | Unavailable:
    """Tell whether DNF installs upgrades by itself: one of its timers is on, and it applies what it downloads."""
    timers = ("/etc/systemd/system/timers.target.wants", "/etc/systemd/system/basic.target.wants",
              "/etc/systemd/system/multi-user.target.wants")
    on = {name for folder in timers for name in root.list(folder) if name.startswith("dnf") and "automatic" in name}
    if not on:
        return False
    if any("install" in name for name in on):
        return True
    for text in _reads(root, ("/etc/dnf/automatic.conf", "/etc/dnf/dnf5-plugins/automatic.conf")):
        if (_setting(text, "commands", "apply_updates") or "no").strip().lower() in ("yes", "true", "1", "on"):
            return True
    return False


def _nix(root: Root) -> Packages:
    booted, current = root.readlink("/run/booted-system/kernel"), root.readlink("/run/current-system/kernel")
    return Packages(
        manager="nix",
        automatic_upgrades=any(root.glob("/etc/systemd/system/*.wants/nixos-upgrade.*")),
        reboot_required=booted != current if booted and current else Unavailable(
            "the booted and the current system cannot be compared", "not-supported"),
    )
