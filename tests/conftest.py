"""Tiers: what a test needs beyond Python, whether that is here, and what was left out and why."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from rig_fixtures import (  # noqa: F401
    bare_engine,
    cdi_engine,
    cdi_folder,
    equipped_engine,
    newest_bare_engine,
    session_toolkit,
    toolkit,
)

from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

#: Where a wheel that takes minutes to build is kept from run to run.
LLAMA_WHEELS = Path(os.environ.get("GPUDOCTOR_TESTS_CACHE", Path.home() / ".cache" / "gpudoctor-tests")) / "wheels"

Reason = str | None
"""Why a tier cannot run here, or None when it can."""


def run_ok(*command: str, timeout: float = 300) -> bool:
    """Run a command and say whether it succeeded."""
    quiet = subprocess.DEVNULL
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=timeout, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def program(name: str, package: str) -> Reason:
    """Find a program; install its Debian package only when tests/run or CI asked for that."""
    if shutil.which(name):
        return None
    if os.environ.get("GPUDOCTOR_TIER_INSTALL") != "1" or os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"no {name} here (Debian package {package})"
    install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", package)
    if run_ok(*install) or (run_ok("apt-get", "update", "-qq") and run_ok(*install)):
        return None if shutil.which(name) else f"package {package} brought no {name}"
    return f"package {package} could not be installed"


def has_compiler() -> Reason:
    return program("gcc", "gcc")


def has_namespaces() -> Reason:
    if os.geteuid() != 0:
        return "needs root"
    if reason := program("unshare", "util-linux"):
        return reason
    return None if run_ok("unshare", "-mn", "true") else "this root may not make namespaces"


def has_nft() -> Reason:
    """Packet filters of one's own: nftables, iptables on top of it, and a network namespace to put them in."""
    for name, package in (("nft", "nftables"), ("iptables-nft", "iptables"), ("ip", "iproute2")):
        if reason := program(name, package):
            return reason
    return None


def has_docker() -> Reason:
    """An engine of one's own: real dockerd and runc, and what the doubles and small images are made of."""
    if reason := has_namespaces() or has_compiler():
        return reason
    for name, package in (("dockerd", "docker.io"), ("runc", "runc"), ("busybox", "busybox-static")):
        if reason := program(name, package):
            return reason
    return "busybox here is not static (Debian package busybox-static)" if run_ok("ldd", "/bin/busybox") else None


def has_compose() -> Reason:
    """Docker's Compose plugin, the newest that Debian has; it needs no engine to read files."""
    cache = Path(os.environ.get("GPUDOCTOR_TESTS_CACHE", Path.home() / ".cache" / "gpudoctor-tests"))
    if any(cache.glob("sid-*/usr/libexec/docker/cli-plugins/docker-compose")):
        return None
    if os.environ.get("GPUDOCTOR_TIER_INSTALL") != "1":
        return "no Compose plugin in the tests' cache; tests/run fetches it"
    folder = Path(__file__).parent / "rig"
    fetch = "import sys; sys.path.insert(0, sys.argv[1]); import rig_packages; rig_packages.newest_engine()"
    return None if run_ok(sys.executable, "-c", fetch, str(folder)) else "the Compose plugin could not be fetched"


def has_systemd() -> Reason:
    """A systemd of one's own, as PID 1 of namespaces on cgroup v2."""
    if reason := has_docker() or program("setpriv", "util-linux"):
        return reason
    if not Path("/lib/systemd/systemd").exists() and (reason := program("systemd-analyze", "systemd")):
        return reason
    cgroup2 = any(line.split()[2] == "cgroup2" for line in Path("/proc/self/mounts").read_text().splitlines())
    return None if cgroup2 else "no cgroup v2 is mounted here"


def has_slurm() -> Reason:
    """A Slurm of one's own, of one node with four device nodes for GPUs."""
    if reason := has_namespaces() or program("setpriv", "util-linux"):
        return reason
    packages = (("munged", "munge"), ("slurmctld", "slurmctld"), ("slurmd", "slurmd"), ("sinfo", "slurm-client"))
    return next((reason for name, package in packages if (reason := program(name, package))), None)


def has_package_index() -> Reason:
    with tempfile.TemporaryDirectory() as folder:
        # pip itself knows best how this machine reaches its index.
        pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, "setuptools>=77")
        return None if run_ok(*pip) else "pip reaches no package index"


def has_ansible() -> Reason:
    """Ansible in an environment of its own in the tests' cache, and sshd for the hosts."""
    if reason := has_namespaces() or has_compiler() or program("ip", "iproute2"):
        return reason
    if reason := program("ssh", "openssh-client") or program("sshd", "openssh-server"):
        return reason
    place = LLAMA_WHEELS.parent / f"ansible-{sys.version_info[0]}.{sys.version_info[1]}"
    if (place / "complete").exists():
        return None
    if os.environ.get("GPUDOCTOR_TIER_INSTALL") != "1":
        return f"no Ansible in {place}; tests/run installs it there"
    install = (str(place / "bin" / "pip"), "install", "-q", "ansible-core>=2.17", "ansible-lint>=25")
    if not run_ok(sys.executable, "-m", "venv", "--clear", str(place)) or not run_ok(*install):
        return f"pip could not install Ansible in {place}"
    (place / "complete").touch()
    return None


def has_aarch64() -> Reason:
    """A compiler for aarch64 and QEMU, which runs what it builds."""
    packages = (("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"), ("qemu-aarch64", "qemu-user"))
    if reason := next((reason for name, package in packages if (reason := program(name, package))), None):
        return reason
    place = Path("/usr/aarch64-linux-gnu/lib/libc.so.6")
    if not place.exists() and os.environ.get("GPUDOCTOR_TIER_INSTALL") == "1":
        run_ok("apt-get", "install", "-y", "-qq", "--no-install-recommends", "libc6-dev-arm64-cross")
    return None if place.exists() else "no C library for aarch64 here (Debian package libc6-dev-arm64-cross)"


def has_llama_server() -> Reason:
    if list(LLAMA_WHEELS.glob("llama_cpp_python-*.whl")):
        return None
    return f"no wheels in {LLAMA_WHEELS} (pip wheel -w there 'llama-cpp-python[server]', about five minutes)"


TIERS: dict[str, Callable[[], Reason]] = {
    "always": lambda: None,
    "shellcheck": lambda: program("shellcheck", "shellcheck"),
    "gcc": has_compiler,
    "aarch64": has_aarch64,
    "chromium": lambda: program("chromium", "chromium"),
    "root": has_namespaces,
    "nft": has_nft,
    "nginx": lambda: program("nginx", "nginx-light"),
    "install": has_package_index,
    "docker": has_docker,
    "systemd": has_systemd,
    "promtool": lambda: program("promtool", "prometheus"),
    "slurm": has_slurm,
    "compose": has_compose,
    "ansible": has_ansible,
    "llama-server": has_llama_server,
}
SLOW = ("aarch64", "root", "nft", "nginx", "install", "docker", "systemd", "slurm", "compose", "ansible",
        "llama-server")

TIERS_OF_ITEM = pytest.StashKey[dict[str, list[str]]]()
OUTCOMES = pytest.StashKey[dict[str, Counter[str]]]()
MISSING = pytest.StashKey[dict[str, str]]()


@functools.cache
def missing(tier: str) -> Reason:
    if tier in SLOW and os.environ.get("GPUDOCTOR_FAST") == "1":
        return "left out by --fast"
    return TIERS[tier]()


def required_tiers() -> list[str]:
    return [name.strip() for name in os.environ.get("GPUDOCTOR_REQUIRE_TIERS", "").split(",") if name.strip()]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TIERS_OF_ITEM] = {}
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    config.stash[OUTCOMES] = outcomes
    config.stash[MISSING] = {}
    for tier in required_tiers():
        if tier not in TIERS:
            raise pytest.UsageError(f"GPUDOCTOR_REQUIRE_TIERS names {tier!r}; there are: {', '.join(TIERS)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    cost = list(TIERS)
    tiers_of: dict[str, list[str]] = {}
    for item in items:
        tiers = [str(mark.args[0]) for mark in item.iter_markers("tier")] or ["always"]
        for tier in tiers:
            if tier not in TIERS:
                raise pytest.UsageError(f"{item.nodeid}: no tier {tier!r}; there are: {', '.join(TIERS)}")
        tiers_of[item.nodeid] = tiers
    # What is cheap runs first, and tells first.
    items.sort(key=lambda item: max(cost.index(tier) for tier in tiers_of[item.nodeid]))
    config.stash[TIERS_OF_ITEM].update(tiers_of)


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Asked only now: a deselected test makes nothing be installed.
    for tier in item.config.stash[TIERS_OF_ITEM].get(item.nodeid, ()):
        if reason := missing(tier):
            item.config.stash[MISSING][tier] = reason
            pytest.skip(f"tier {tier}: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or report.outcome != "passed":
        for tier in item.config.stash[TIERS_OF_ITEM].get(item.nodeid, ()):
            item.config.stash[OUTCOMES][tier][report.outcome] += 1
    return report


def missing_required(config: pytest.Config) -> list[str]:
    outcomes = config.stash[OUTCOMES]
    return [tier for tier in required_tiers() if not outcomes[tier]["passed"] and not outcomes[tier]["failed"]]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if missing_required(session.config) and not session.config.option.collectonly and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, None, None]:
    # After pytest's own list of failures, so that the table stands at the end.
    yield
    if config.option.collectonly:
        return
    outcomes = config.stash[OUTCOMES]
    lacking = missing_required(config)
    terminalreporter.section("tiers")
    for tier in TIERS:
        counts = outcomes[tier]
        ran = counts["passed"] + counts["failed"]
        if tier in config.stash[MISSING]:
            state = f"not run: {config.stash[MISSING][tier]}"
        elif ran:
            state = f"run: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"
        elif counts["skipped"]:
            state = f"not run: its {counts['skipped']} tests skipped themselves, see above"
        else:
            state = "not run: no test of it was selected"
        if tier in lacking:
            state += "  <- REQUIRED"
        terminalreporter.line(f"{tier:<13}{state}")
    if lacking:
        terminalreporter.line(f"Required tiers that did not run: {', '.join(lacking)}", red=True)


@pytest.fixture(scope="session")
def llama_wheels() -> Path:
    """Where the tier ``llama-server`` keeps what it takes minutes to build."""
    return LLAMA_WHEELS


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder the tests were started from; the package under test may be an installed wheel."""
    return Path(__file__).parent.parent


@pytest.fixture
def gpudoctor(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The real command, as a user would run it, with an empty home and no configuration of this machine's."""
    home = tmp_path_factory.mktemp("home")

    def run(*arguments: str | Path, cwd: Path = home, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("GPUDOCTOR_", "XDG_", "PYTHON"))}
        return subprocess.run(
            [str(Path(sys.executable).with_name("gpudoctor")), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            env={**environment, "HOME": str(home), "NO_COLOR": "1", "GPUDOCTOR_LANG": "en", **variables},
            cwd=cwd,
            timeout=120,
            check=False,
        )

    return run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Rewrite the expected findings of fixtures/.")


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[dict[str, str]], Root]:
    """Write a recorded tree; a text that begins with ``->`` is a link, a name that ends in ``/`` a folder."""

    def write(files: dict[str, str]) -> Root:
        for name, text in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            elif text.startswith("->"):
                path.symlink_to(text[2:])
            else:
                path.write_text(text)
        return Root(str(tmp_path))

    return write


@pytest.fixture
def said(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[dict[str, Any]]]:
    """Run a probe module in this process and return the lines it wrote."""

    def run(module: Any, root: Root, left_out: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        path = tmp_path_factory.mktemp("said") / "lines"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT)
        module.probe(Reporter(handle, left_out), root)
        os.close(handle)
        return [json.loads(line) for line in path.read_text().splitlines()]

    return run
