"""Packages, module file and services: parsers on text, probes on trees."""

from pathlib import Path

import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import ModuleFile, Packages
from gpudoctor.probes.apt_config import flag, parse_apt_config
from gpudoctor.probes.module_file import parse_modinfo
from gpudoctor.probes.packages import dnf_excludes, parse_dpkg_status, read_packages
from gpudoctor.probes.root import Root
from gpudoctor.probes.services import UNITS, parse_show
from gpudoctor.probes.take import take_snapshot

STATUS = """Package: nvidia-driver-580-open
Status: install ok installed
Version: 580.95.05-0ubuntu1
Description: NVIDIA driver
 Status: a line of the description

Package: libnvidia-compute-580
Status: hold ok installed
Version: 580.95.05-0ubuntu1

Package: nvidia-dkms-535
Status: deinstall ok config-files
Version: 535.1

Package: bash
Status: install ok installed
Version: 5.1
"""
PERIODIC = 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
BLACKLIST = """// Packages "not" to upgrade
Unattended-Upgrade::Package-Blacklist {
    "nvidia-";      // the driver
    # "linux-";
    /* "bash"; */
    "libnvidia-"; };
Unattended-Upgrade::Package-Blacklist:: "cuda-drivers";
Acquire { http { Proxy "http://proxy//path"; }; };
"""


def write(root: Path, **files: str) -> Root:
    for name, content in files.items():
        path = root / name.replace("__", "/").lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Root(str(root))


def test_dpkg_status() -> None:
    found = [(p.name, p.version, p.held) for p in parse_dpkg_status(STATUS)]
    assert found == [("nvidia-driver-580-open", "580.95.05-0ubuntu1", False),
                     ("libnvidia-compute-580", "580.95.05-0ubuntu1", True)]


def test_apt_configuration() -> None:
    config = parse_apt_config([PERIODIC, BLACKLIST])
    assert config["unattended-upgrade::package-blacklist"] == ["nvidia-", "libnvidia-", "cuda-drivers"]
    assert flag(config, "APT::Periodic::Unattended-Upgrade") is True
    assert config["acquire::http::proxy"] == ["http://proxy//path"]
    assert flag(parse_apt_config([PERIODIC, 'APT::Periodic::Unattended-Upgrade "0";']),
                "APT::Periodic::Unattended-Upgrade") is False
    cleared = parse_apt_config([BLACKLIST, "#clear Unattended-Upgrade::Package-Blacklist;"])
    assert "unattended-upgrade::package-blacklist" not in cleared


@pytest.mark.parametrize("text", ["{" * 5000, "}" * 5000, '"' * 4001, "/*" * 5000, "a b c {", ";;;;", "a::b"])
def test_broken_apt_configuration_ends(text: str) -> None:
    parse_apt_config([text])


def apt(root: Path, **files: str) -> Packages:
    found = read_packages(write(root, var__lib__dpkg__status=STATUS, **files))
    assert isinstance(found, Packages)
    return found


def test_unattended_upgrades_need_the_program_and_the_switch(tmp_path: Path) -> None:
    assert apt(tmp_path).automatic_upgrades is False
    (tmp_path / "etc/apt/apt.conf.d").mkdir(parents=True)
    (tmp_path / "etc/apt/apt.conf.d/20auto-upgrades").write_text(PERIODIC)
    assert apt(tmp_path).automatic_upgrades is False
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/unattended-upgrade").write_text("")
    (tmp_path / "etc/apt/apt.conf.d/50unattended-upgrades").write_text(BLACKLIST)
    packages = apt(tmp_path)
    assert packages.automatic_upgrades is True
    assert packages.automatic_exclusions == ("nvidia-", "libnvidia-", "cuda-drivers")


def test_reboot_mark(tmp_path: Path) -> None:
    assert isinstance(apt(tmp_path).reboot_required, Unavailable), "nothing here would leave a mark"
    (tmp_path / "etc/kernel/postinst.d").mkdir(parents=True)
    (tmp_path / "etc/kernel/postinst.d/update-notifier").write_text("")
    assert apt(tmp_path).reboot_required is False
    (tmp_path / "run").mkdir()
    (tmp_path / "run/reboot-required").write_text("*** System restart required ***\n")
    (tmp_path / "run/reboot-required.pkgs").write_text("linux-image-6\nlinux-base\nlinux-image-6\n")
    packages = apt(tmp_path)
    assert (packages.reboot_required, packages.reboot_packages) == (True, ("linux-image-6", "linux-base"))


def test_dnf(tmp_path: Path) -> None:
    root = write(tmp_path, var__lib__rpm__rpmdb_sqlite="")
    (tmp_path / "var/lib/rpm/rpmdb_sqlite").rename(tmp_path / "var/lib/rpm/rpmdb.sqlite")
    (tmp_path / "etc/dnf/plugins").mkdir(parents=True)
    (tmp_path / "etc/dnf/dnf.conf").write_text("[main]\nexcludepkgs=kmod-nvidia*, cuda-drivers\n")
    (tmp_path / "etc/dnf/automatic.conf").write_text("[commands]\napply_updates = yes\n")
    (tmp_path / "etc/dnf/plugins/versionlock.list").write_text("# locked\nnvidia-driver-3:580.95.05-1.el9.*\n!bash\n")
    packages = read_packages(root)
    assert isinstance(packages, Packages)
    assert packages.manager == "dnf"
    assert packages.automatic_upgrades is False, "its timer is off"
    assert packages.automatic_exclusions == ("nvidia-driver-3:580.95.05-1.el9.*", "kmod-nvidia*", "cuda-drivers")
    wants = tmp_path / "etc/systemd/system/timers.target.wants"
    wants.mkdir(parents=True)
    (wants / "dnf-automatic.timer").symlink_to("/usr/lib/systemd/system/dnf-automatic.timer")
    again = read_packages(root)
    assert isinstance(again, Packages)
    assert again.automatic_upgrades is True
    assert dnf_excludes("no section") == []


def test_no_package_manager_is_nothing_to_judge(tmp_path: Path) -> None:
    found = read_packages(Root(str(tmp_path)))
    assert isinstance(found, Unavailable)
    assert found.kind == "not-applicable"


MODINFO = """filename:       /srv/host/lib/modules/6.8.0/updates/dkms/nvidia.ko.zst
version:        580.95.05
license:        Dual MIT/GPL
sig_id:         PKCS#7
signer:         gpu01 Secure Boot Module Signature key
parm:           NVreg_ResmanDebugLevel:int
"""


def test_modinfo() -> None:
    info = parse_modinfo(MODINFO, "/srv/host")
    assert info is not None
    assert (info.path, info.version, info.license) == (
        "/lib/modules/6.8.0/updates/dkms/nvidia.ko.zst", "580.95.05", "Dual MIT/GPL")
    assert info.signer == "gpu01 Secure Boot Module Signature key"
    assert parse_modinfo("filename:       (builtin)\n") is None
    assert parse_modinfo("") is None


def test_a_kernel_without_modules_has_no_module_file(tmp_path: Path) -> None:
    write(tmp_path, proc__sys__kernel__osrelease="6.8.0-1-test\n")
    found = take_snapshot(root=str(tmp_path), sections={"module_file"}, timeout=30).module_file
    assert found == ModuleFile(info=None)


def test_a_release_that_is_no_release_reaches_no_command(tmp_path: Path) -> None:
    write(tmp_path, proc__sys__kernel__osrelease="--help; rm -rf /\n")
    assert isinstance(take_snapshot(root=str(tmp_path), sections={"module_file"}, timeout=30).module_file, Unavailable)


def test_systemctl_show() -> None:
    block = "Id={}\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled"
    units = parse_show("\n\n".join(block.format(f"x{n}.service") for n in range(len(UNITS))), UNITS)
    assert [u.name for u in units] == list(UNITS), "an alias answers under another name"
    assert (units[0].load, units[0].active, units[0].enabled) == ("loaded", "active", "enabled")
    assert parse_show("Id=only.one\n", UNITS) == ()


def test_services_of_a_tree_do_not_apply(tmp_path: Path) -> None:
    found = take_snapshot(root=str(tmp_path), sections={"services"}, timeout=30).services
    assert isinstance(found, Unavailable)
    assert found.kind == "not-applicable"
