"""Running one external command inside a probe's child: fixed path, quiet locale, bounded output."""

import os
import subprocess

#: Where system commands live; the caller's PATH is not trusted with root's rights.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin:/opt/rocm/bin"


class CommandMissing(Exception):
    """The command is not installed."""


def find(name: str) -> str | None:
    """Return the absolute path of a system command, None when it is not installed."""
    for folder in SYSTEM_PATH.split(":"):
        path = f"{folder}/{name}"
        if os.access(path, os.X_OK):
            return path
    return None


def run(name: str, *arguments: str, limit: int = 16 << 20) -> tuple[int, str, str]:
    """Run a system command and return exit code, output and error text. Deadlines are the parent's matter.

    Args:
        name: The command, looked up in the system's own folders.
        arguments: Passed as they are, no shell.
        limit: The most bytes of output to read; the command is killed when it writes more.

    Raises:
        CommandMissing: It is not installed.
    """
    path = find(name)
    if path is None:
        raise CommandMissing(name)
    return run_path(path, *arguments, limit=limit)


def run_path(path: str, *arguments: str, limit: int = 16 << 20) -> tuple[int, str, str]:
    """Run a program by its absolute path, as ``run`` does; the caller knows that it can be trusted.

    Raises:
        OSError: It cannot be started.
    """
    environment = {"PATH": SYSTEM_PATH, "LC_ALL": "C", "HOME": "/", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    with subprocess.Popen(
        [path, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd="/",
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        output = process.stdout.read(limit)
        if len(output) == limit:
            process.kill()
        errors = process.stderr.read(1 << 16)
        code = process.wait()
    return code, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")
