"""pip, the ordinary client of package indexes: which one is here, where it asks, and what it brings."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

import msgspec

#: Settings that would send the wheels elsewhere, or keep pip from running.
_NOT_OURS = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_REQUIREMENT",
             "PIP_CONSTRAINT", "PIP_LOG", "PYTHONPATH", "PYTHONHOME")  # fmt: skip
_DEBIANS_WHEELS = Path("/usr/share/python-wheels")
_OUTPUT_KEPT = 256 * 1024
#: What a pip that reaches no index says, in the words of urllib3.
_UNREACHED = re.compile(
    r"connection broken by|Failed to establish a new connection|Max retries exceeded|Temporary failure in name|"
    r"Could not fetch URL|ConnectTimeout|Read timed out|ProxyError|SSLError"
)
_CREDENTIALS = re.compile(r"//[^/\s@]*@")


class PipFailure(Exception):
    """Why pip brought nothing, in one line. ``unreachable``: no index answered."""

    def __init__(self, message: str, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


class Places(msgspec.Struct, frozen=True):
    """Where pip would look: hosts of the network, and folders of this machine."""

    hosts: tuple[str, ...]
    local: tuple[str, ...]


def find_pip() -> tuple[str, ...] | None:
    """Return the command of a pip: this Python's, the one that it ships, Debian's, or one on the PATH."""
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-I", "-m", "pip")
    folders = [_DEBIANS_WHEELS]
    if (spec := importlib.util.find_spec("ensurepip")) is not None and spec.origin:
        folders.insert(0, Path(spec.origin).parent / "_bundled")
    for folder in folders:
        # A wheel of pip runs without being installed.
        for wheel in sorted(folder.glob("pip-*.whl")):
            return (sys.executable, "-I", str(wheel / "pip"))
    on_path = shutil.which("pip3") or shutil.which("pip")
    return (on_path,) if on_path else None


def places(pip: Sequence[str], deadline: float = 60.0) -> Places:
    """Return where pip's settings send it; asks no network.

    Raises:
        PipFailure: pip does not run.
    """
    found: dict[str, dict[str, str]] = {}
    for line in _run([*pip, "config", "list"], deadline).splitlines():
        key, equals, value = line.partition("=")
        section, _, name = key.partition(".")
        if equals:
            found.setdefault(section, {})[name] = _unquoted(value)
    settings: dict[str, str] = {}
    for section in ("global", "download", ":env:"):
        settings.update(found.get(section, {}))
    urls = "" if _true(settings.get("no-index", "")) else settings.get("index-url", "") or "https://pypi.org/simple"
    if urls:
        urls += " " + settings.get("extra-index-url", "")
    hosts: dict[str, None] = {}
    local: dict[str, None] = {}
    for place in f"{urls} {settings.get('find-links', '')}".split():
        try:
            parts = urllib.parse.urlsplit(place)
            host = parts.hostname if parts.scheme in ("http", "https") else None
        except ValueError:
            host = None
        if host:
            hosts[host] = None
            if host == "pypi.org":
                hosts["files.pythonhosted.org"] = None
        else:
            local[_CREDENTIALS.sub("//", place)] = None
    return Places(tuple(hosts), tuple(local))


def _unquoted(value: str) -> str:
    # pip prints the repr of a string, in which a list's line breaks are escaped.
    text = value.strip()
    return text[1:-1].replace("\\n", " ").replace("\\t", " ") if text[:1] in ("'", '"') else text


def _true(text: str) -> bool:
    return any(word.lower() in ("1", "true", "yes", "on", "y", "t") for word in text.split())


def download(pip: Sequence[str], options: Sequence[str], wanted: Sequence[str], folder: Path, deadline: float) -> None:
    """Bring wheels of requirements, and of what they require, into a folder.

    Raises:
        PipFailure: They cannot be had.
    """
    # Not ours to name by argument: a requirement never begins with a dash.
    _run([*pip, "download", "--dest", str(folder), *options, "--", *wanted], deadline)


def build(pip: Sequence[str], source: Path, folder: Path, deadline: float) -> None:
    """Build the wheel of a source folder.

    Raises:
        PipFailure: It cannot be built.
    """
    _run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), "--", str(source)], deadline)


def _run(command: Sequence[str], deadline: float) -> str:
    """Run pip and return what it said; what it starts ends with it, whatever happens."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    environment.update(PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_COLOR="1", PIP_PROGRESS_BAR="off",
                       PIP_USER="0", LC_ALL="C.UTF-8")  # fmt: skip
    # Without any retry, pip does not say that an index did not answer.
    environment["PIP_RETRIES"] = "1"
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment,
                start_new_session=True, cwd="/",
            )  # fmt: skip
        except OSError as error:
            raise PipFailure(f"pip cannot be started: {error.strerror or error}") from None
        try:
            code = process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise PipFailure(f"pip did not end within {deadline:.0f} s", unreachable=True) from None
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - _OUTPUT_KEPT))
        text = output.read().decode("utf-8", "replace")
    if code != 0:
        raise _failure(text, code)
    return text


def _failure(text: str, code: int) -> PipFailure:
    lines = [_CREDENTIALS.sub("//", line.strip()) for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    said = errors[-1] if errors else lines[-1] if lines else f"exit code {code}"
    # Beside a mirror that is down another may have answered: only what was then not found counts as unreachable.
    if "No space left on device" in text:
        said = "No space left on device"
    decides = text if "No matching distribution" in text else said
    return PipFailure(f"pip: {said[:400]}", unreachable=_UNREACHED.search(decides) is not None)
