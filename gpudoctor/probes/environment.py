"""The environment variables that engines read, without secrets, and the user's locale."""

import locale
import os
import re
from collections.abc import Mapping

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Locale
from gpudoctor.probes.root import Root

_NAMES = frozenset(
    {
        "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH", "LD_PRELOAD",
        "HF_HOME", "HF_HUB_CACHE", "LANG", "PYTHONIOENCODING", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
        "CUDA_LAUNCH_BLOCKING", "CUDA_DISABLE_PTX_JIT", "CUDA_FORCE_PTX_JIT", "NSIGHT_CUDA_DEBUGGER",
        "CUDA_INJECTION32_PATH", "CUDA_INJECTION64_PATH", "CUDA_AUTO_BOOST", "CUDA_ENABLE_COREDUMP_ON_EXCEPTION",
        "CUDA_COREDUMP_FILE", "CUDA_DEVICE_WAITS_ON_EXCEPTION", "CUDA_PROFILE", "COMPUTE_PROFILE", "OPENCL_PROFILE",
    }
)
_PREFIXES = ("OLLAMA_", "VLLM_", "NCCL_", "LC_")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|COOKIE", re.IGNORECASE)
#: Recorded as "set", never with their value.
_ONLY_SET = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
_URL_USER = re.compile(r"://[^/@\s]*@")
_MAX_VALUE = 4096
_MAX_VARIABLES = 200


def allowed(environment: Mapping[str, str]) -> dict[str, str]:
    """Keep what checks judge. Secrets stay out: by name, and as user and password inside an address."""
    kept: dict[str, str] = {}
    for name in sorted(environment):
        value = environment[name]
        if name in _ONLY_SET:
            kept[name] = "set" if value else ""
        elif name in _NAMES or (name.startswith(_PREFIXES) and not _SECRET.search(name)):
            if name == "LD_PRELOAD":
                value = " ".join(part.rsplit("/", 1)[-1] for part in re.split(r"[ :]+", value) if part)
            kept[name] = _URL_USER.sub("://***@", value)[:_MAX_VALUE]
        if len(kept) == _MAX_VARIABLES:
            break
    return kept


def without_coercion(environment: Mapping[str, str], before: Mapping[str, str] | None) -> dict[str, str]:
    """Undo PEP 538: under ``LANG=C`` Python itself sets ``LC_CTYPE`` for its children, which the user never said.

    Args:
        environment: What this process was given.
        before: What the Python that started this one was given; None when that cannot be seen.
    """
    kept = dict(environment)
    if before is not None and "LC_CTYPE" not in before and kept.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        del kept["LC_CTYPE"]
    return kept


def given(root: Root) -> dict[str, str]:
    """Return this user's environment; empty under a prefix, where it would be another machine's."""
    if not root.live:
        return {}
    try:
        data = root.read_bytes(f"/proc/{os.getppid()}/environ")
    except PermissionError:
        data = None
    return without_coercion(os.environ, parse_environ(data) if data else None)


def parse_environ(data: bytes) -> dict[str, str]:
    """Read /proc/PID/environ: ``NAME=value`` ended by NUL bytes."""
    pairs = (item.partition("=") for item in data.decode("utf-8", "replace").split("\0"))
    return {name: value for name, equals, value in pairs if equals}


def user_locale(environment: Mapping[str, str], root: Root) -> Locale | Unavailable:
    """Return the variable that decides the console's encoding, and the encoding that follows.

    Under a prefix nobody's console is known: the system's default stands in for it.
    """
    default = _system_default(root)
    if not root.live:
        if isinstance(default, Unavailable):
            return default
        return Locale(variable="LANG", value=default, encoding=encoding_of(default), system_default=default)
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    variable = next((name for name in names if environment.get(name)), "LANG")
    value = environment.get(variable, "")[:200]
    return Locale(variable=variable, value=value, encoding=installed_encoding(value), system_default=default)


def encoding_of(value: str) -> str:
    """Return the encoding that a locale's name carries; empty when it carries none (``ko_KR``)."""
    if value in ("", "C", "POSIX"):
        return "ASCII"
    return value.partition("@")[0].partition(".")[2]


def installed_encoding(value: str) -> str:
    """Return the encoding that the C library uses for a locale: ASCII when it is not installed here."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, value or "C")
        name = locale.nl_langinfo(locale.CODESET)
    except (locale.Error, ValueError):
        return "ASCII"
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return "ASCII" if name == "ANSI_X3.4-1968" else name


def _system_default(root: Root) -> str | Unavailable:
    for name in ("/etc/locale.conf", "/etc/default/locale"):
        try:
            value = parse_settings(root.read(name) or "").get("LANG")
        except PermissionError:
            return Unavailable(f"no permission to read {name}", "no-permission")
        if value:
            return value[:200]
    return Unavailable("this system sets no default locale", "not-applicable")


def parse_settings(text: str) -> dict[str, str]:
    """Read ``NAME=value`` lines as os-release, locale.conf and their like have them; quotes go."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            found[name.strip().removeprefix("export ")] = value
    return found
