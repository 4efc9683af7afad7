"""For which Python and which platform a bundle is made, in the words of pip and of wheels' names.

Platform tags: https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/
"""

import platform
import re
import sys

import msgspec

from gpudoctor.bundle import BundleError

#: The older names of three glibc versions.
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_PLATFORM = re.compile(r"(manylinux|musllinux)_(\d{1,2})_(\d{1,3})_([a-z0-9_]{1,20})")


class Target(msgspec.Struct, frozen=True):
    """One Python version on one platform: ``Target("3.11", "manylinux_2_28_x86_64")``."""

    python: str
    platform: str

    @property
    def machine(self) -> str:
        """The processor, as ``uname -m`` says it."""
        return _parts(self.platform)[3]

    @property
    def short(self) -> str:
        """``py311``."""
        return "py" + self.python.replace(".", "")

    @property
    def pip_options(self) -> list[str]:
        """What tells pip to choose wheels for this target and not for the Python that runs it."""
        cp = "cp" + self.python.replace(".", "")
        options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", self.python]
        for abi in (cp, "abi3", "none"):
            options += ["--abi", abi]
        for tag in tags(self.platform):
            options += ["--platform", tag]
        return options

    @property
    def marker_environment(self) -> dict[str, str]:
        """What environment markers see there. The patch level is not known: the lowest."""
        return {
            "implementation_name": "cpython", "implementation_version": f"{self.python}.0", "os_name": "posix",
            "platform_machine": self.machine, "platform_python_implementation": "CPython", "platform_release": "",
            "platform_system": "Linux", "platform_version": "", "python_full_version": f"{self.python}.0",
            "python_version": self.python, "sys_platform": "linux",
        }  # fmt: skip


def target(python: str, platform_tag: str) -> Target:
    """Return a target.

    Raises:
        BundleError: No such Python runs gpudoctor, or the platform is none of Linux.
    """
    version = re.fullmatch(r"3\.(\d{1,2})", python)
    if version is None or int(version[1]) < 10:
        raise BundleError(f"--python {python[:20]!r}: gpudoctor needs 3.10 or newer", "for example --python 3.11")
    _parts(platform_tag)
    return Target(python, platform_tag)


def this_python() -> str:
    """Return the version of the Python that runs this, as ``3.11``."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def this_platform() -> str:
    """Return this machine's platform tag, by its C library and processor.

    Raises:
        BundleError: The C library says nothing of itself.
    """
    for tag in _own_tags():
        if _PLATFORM.fullmatch(tag):
            return tag
    raise BundleError("this machine's C library is not known", "name the other machine's: --platform TAG")


def _own_tags() -> list[str]:
    from packaging.tags import platform_tags

    return list(platform_tags())


def tags(platform_tag: str) -> list[str]:
    """Return the tags of all wheels that run on a platform: its own, and those of older C libraries."""
    kind, major, minor, machine = _parts(platform_tag)
    if major != 2 or kind == "musllinux":
        return [f"{kind}_{major}_{each}_{machine}" for each in range(minor, -1, -1)]
    found = []
    # Below glibc 2.17 there is only x86.
    for each in range(minor, 4 if machine in ("x86_64", "i686") else 16, -1):
        found.append(f"{kind}_2_{each}_{machine}")
        if (2, each) in _LEGACY:
            found.append(f"{_LEGACY[2, each]}_{machine}")
    return found


def _parts(platform_tag: str) -> tuple[str, int, int, str]:
    found = _PLATFORM.fullmatch(platform_tag)
    if found is None:
        raise BundleError(
            f"--platform {platform_tag[:60]!r} is no platform of Linux wheels",
            f"for example manylinux_2_28_{platform.machine() or 'x86_64'}",
        )
    return found[1], int(found[2]), int(found[3]), found[4]


def needed_library(wheel_names: list[str]) -> str:
    """Return the oldest C library that all these wheels run with: ``glibc 2.17``, ``musl 1.2``; empty for any."""
    least: dict[str, tuple[int, int]] = {}
    for name in wheel_names:
        found: dict[str, tuple[int, int]] = {}
        for tag in name.removesuffix(".whl").rpartition("-")[2].split("."):
            for (major, minor), legacy in _LEGACY.items():
                tag = tag.replace(f"{legacy}_", f"manylinux_{major}_{minor}_")
            if parts := _PLATFORM.fullmatch(tag):
                library = "glibc" if parts[1] == "manylinux" else "musl"
                version = (int(parts[2]), int(parts[3]))
                found[library] = min(found.get(library, version), version)
        for library, version in found.items():
            least[library] = max(least.get(library, version), version)
    return "".join(f"{library} {major}.{minor}" for library, (major, minor) in sorted(least.items())[:1])
