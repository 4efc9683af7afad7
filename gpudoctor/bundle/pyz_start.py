"""The start of ``gpudoctor.pyz``: unpacks itself once into a folder that only this user may write, and runs there.

Compiled libraries cannot be loaded from an archive. This file is the archive's ``__main__``; it is also read by
Pythons that are too old for the rest, which it tells so.
"""

import os
import stat
import sys


def main() -> None:
    """Check the machine, unpack, run."""
    import pyz_build as build  # type: ignore[import-not-found]

    if not fits(build):
        version = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
        here = ", ".join((version, os.uname().machine, library_here() or "no glibc"))
        fail(f"gpudoctor.pyz is made for Python {build.PYTHON[0]}.{build.PYTHON[1]}, {build.NEEDS}; here is {here}")
    archive = sys.path[0]
    # Nothing may be imported from the archive any more, nor from where the caller stands.
    sys.path[0] = prepare(archive, build.DIGEST)
    from gpudoctor.cli import main as gpudoctor

    gpudoctor()


def fits(build: "object") -> bool:
    """Say whether the compiled parts can run here."""
    return (
        sys.version_info[:2] == getattr(build, "PYTHON", None)
        and sys.implementation.name == "cpython"
        and os.uname().machine == getattr(build, "MACHINE", None)
        and enough(str(getattr(build, "LIBRARY", "")), library_here())
    )


def library_here() -> str:
    """Return the C library, as ``glibc 2.36``; empty where it has no name, as musl has none."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return ""


def enough(wanted: str, here: str) -> bool:
    """Compare ``glibc 2.17`` with ``glibc 2.36``."""
    kind, _, version = wanted.partition(" ")
    if kind != "glibc":
        return not here
    name, _, found = here.partition(" ")
    try:
        return name == kind and [int(n) for n in found.split(".")[:2]] >= [int(n) for n in version.split(".")]
    except ValueError:
        return False


def prepare(archive: str, digest: str) -> str:
    """Return the folder with the unpacked files."""
    problem = "no folder is private to this user"
    for folder in places():
        site = os.path.join(folder, digest)
        if not is_private(folder):
            continue
        if os.path.isdir(site):
            return os.path.join(site, "site")
        try:
            unpack(archive, folder, site)
        except (OSError, ValueError) as error:
            problem = f"{folder}: {getattr(error, 'strerror', None) or error}"
            continue
        return os.path.join(site, "site")
    fail(f"gpudoctor.pyz cannot unpack itself: {problem} (XDG_CACHE_HOME names another folder)")
    return ""


def places() -> "list[str]":
    """Return where to unpack, best first."""
    found = []
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    if os.path.isabs(cache):
        found.append(os.path.join(cache, "gpudoctor-pyz"))
    name = f"gpudoctor-pyz-{os.geteuid()}"
    temporary = os.environ.get("TMPDIR", "")
    for folder in (temporary, f"/run/user/{os.geteuid()}", "/tmp", "/var/tmp", "/dev/shm"):
        if os.path.isabs(folder):
            found.append(os.path.join(folder, name))
    return found


def is_private(folder: str) -> bool:
    """Make a folder, and say whether nobody else can change what lies in it, and whether code may run from there."""
    try:
        parent = os.path.dirname(folder)
        if not trusted(os.path.realpath(parent)):
            return False
        # A cache folder may be made, a home that is not there may not.
        if not os.path.isdir(parent):
            os.mkdir(parent, 0o700)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            pass
        seen = os.lstat(folder)
        return (
            stat.S_ISDIR(seen.st_mode)
            and seen.st_uid == os.geteuid()
            and not seen.st_mode & 0o077
            and not os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 8)
        )
    except OSError:
        return False


def trusted(path: str) -> bool:
    """Say whether nobody but this user and root can put another folder in the place of one below ``path``."""
    while True:
        try:
            seen = os.stat(path)
        except FileNotFoundError:
            seen = None
        if seen is not None:
            if seen.st_uid not in (0, os.geteuid()):
                return False
            if seen.st_mode & 0o022 and not seen.st_mode & stat.S_ISVTX:
                return False
        if path == os.path.dirname(path):
            return True
        path = os.path.dirname(path)


def unpack(archive: str, folder: str, site: str) -> None:
    """Unpack beside and rename, so that what is there is whole, whoever else starts at the same time."""
    import shutil
    import tempfile
    import zipfile

    fresh = tempfile.mkdtemp(prefix="new-", dir=folder)
    try:
        try:
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(fresh, [name for name in packed.namelist() if name.startswith("site/")])
        except (zipfile.BadZipFile, EOFError) as error:
            raise ValueError(f"the archive is damaged: {error}") from None
        try:
            os.rename(fresh, site)
        except OSError:
            if not os.path.isdir(site):
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def fail(text: str) -> None:
    """Say why there is no report, as gpudoctor does, and end."""
    if "--json" in sys.argv:
        import json

        error = {"message": text, "where": "gpudoctor.pyz", "hint": ""}
        sys.stdout.write(json.dumps({"schema": "gpudoctor.error/1", "error": error, "exit_code": 2}) + "\n")
    sys.stderr.write(f"gpudoctor: {text}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
