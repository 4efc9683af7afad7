"""Engines newer than this system's, from Debian's own mirror, unpacked into a cache and never installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("GPUDOCTOR_TESTS_CACHE", Path.home() / ".cache" / "gpudoctor-tests"))
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ENGINE_PACKAGES = ("docker.io", "docker-cli", "docker-compose", "containerd")

#: systemd 257 with its libraries, and the engine of that release: laid over this system's files, never installed.
TRIXIE_PACKAGES = (
    "systemd", "libsystemd0", "libsystemd-shared", "libc6", "libc-bin", "libacl1", "libapparmor1", "libaudit1",
    "libblkid1", "libcap2", "libcap-ng0", "libcrypt1", "libkmod2", "libmount1", "libpam0g", "libseccomp2",
    "libselinux1", "libssl3t64", "libgcrypt20", "libgpg-error0", "libuuid1", "libzstd1", "liblzma5", "libpcre2-8-0",
    "docker.io", "docker-cli", "containerd", "runc",
)  # fmt: skip


class NoPackages(Exception):
    """Why they could not be had, in one line."""


def mirror() -> str:
    """Return the Debian mirror that this system is configured with."""
    for file in (*Path("/etc/apt").glob("sources.list.d/*.sources"), *Path("/etc/apt").glob("*.list")):
        if found := re.search(r"https?://\S*/debian/?(?=\s)", file.read_text()):
            return found[0]
    return "http://deb.debian.org/debian"


def quietly(*command: str, cwd: Path | None = None, seconds: float = 300) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoPackages(f"{command[0]}: {error}") from None
    if done.returncode:
        raise NoPackages(f"{' '.join(command[:2])}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")


def unpacked(suite: str, packages: tuple[str, ...]) -> Path:
    """Return a folder with these packages of a Debian suite, fetched at most once.

    The system's own package lists stay as they are: apt is given a private state.

    Raises:
        NoPackages: No mirror, no keyring, no such package.
    """
    folder = CACHE / (f"{suite}-{'-'.join(packages)}"[:200])
    if (folder / "complete").exists():
        return folder
    if not KEYRING.exists():
        raise NoPackages(f"no {KEYRING} here (Debian package debian-archive-keyring)")
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="apt-", dir=CACHE))
    try:
        for name in ("lists/partial", "cache/archives/partial", "debs", "root"):
            (work / name).mkdir(parents=True)
        # apt's own user fetches, and may not enter a home.
        (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
        options = (
            f"-oDir::Etc::sourcelist={work}/sources.list", "-oDir::Etc::sourceparts=/dev/null",
            f"-oDir::State::Lists={work}/lists", f"-oDir::Cache={work}/cache", "-oAPT::Sandbox::User=root",
            "-oAcquire::Languages=none",
        )  # fmt: skip
        quietly("apt-get", "update", "-qq", *options)
        quietly("apt-get", "download", "-qq", *options, *packages, cwd=work / "debs")
        for deb in (work / "debs").glob("*.deb"):
            quietly("dpkg", "-x", str(deb), str(work / "root"))
        (work / "root" / "complete").touch()
        if not folder.exists():
            (work / "root").rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def newest_engine() -> Path:
    """Return Debian's newest Docker. It runs with this system's runc: its own needs a newer C library."""
    return unpacked("sid", ENGINE_PACKAGES)


def trixie() -> Path:
    """Return Debian 13's systemd and Docker."""
    return unpacked("trixie", TRIXIE_PACKAGES)
