"""What a folder is as a Python environment: its kind, version, interpreter and folders of packages."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gpudoctor.facts.python_envs import EnvironmentKind
from gpudoctor.probes.elf import ElfError, read_elf
from gpudoctor.probes.regular_file import names_in, open_regular, read_text, real_path
from gpudoctor.probes.root import Root
from gpudoctor.probes.users import read_users

_LIBRARY = re.compile(r"python(3\.\d{1,2})(t?)$")
_CONDA_PYTHON = re.compile(r"python-(3\.\d+(?:\.\d+)?)[0-9a-z.]*-.*\.json$")
_UV_PYTHON = re.compile(r"(?:cpython|pypy)-(3\.\d+\.\d+)[^/]*-(?:linux|macos|windows)-")
_PYENV_PYTHON = re.compile(r"/versions/(3\.\d+\.\d+)t?$")
_PATCH = re.compile(r'#define PY_VERSION\s+"(3\.\d+\.\d+)')
_MAX_FOLDERS = 16


class Layout(NamedTuple):
    """One environment's folders. ``failure`` says what is wrong with it as a whole."""

    path: str
    kind: EnvironmentKind
    python: str | None
    abi: str | None
    interpreter: str | None
    platform: str | None
    rpath: tuple[str, ...]
    site_packages: tuple[str, ...]
    user: str | None
    failure: str | None


def is_environment(root: Root, prefix: str) -> bool:
    """Tell by two or three looks whether a folder is the prefix of a Python."""
    if root.exists(f"{prefix}/pyvenv.cfg") or root.exists(f"{prefix}/conda-meta"):
        return True
    return root.exists(f"{prefix}/bin/python3") and any(True for _ in _libraries(root, prefix))


def layouts(root: Root, prefix: str, kind: EnvironmentKind | None = None) -> list[Layout]:
    """Describe the environments with this prefix: one, or one for each Python of a prefix like ``/usr``.

    Args:
        root: The file system.
        prefix: The folder.
        kind: What it is known to be, where the folder itself does not tell.
    """
    config = parse_pyvenv(read_text(root, f"{prefix}/pyvenv.cfg", 1 << 16) or "")
    if config:
        return [_venv(root, prefix, config)]
    conda = [name for name in names_in(root, f"{prefix}/conda-meta") if name.endswith(".json")]
    if conda or root.exists(f"{prefix}/conda-meta"):
        match = next(filter(None, map(_CONDA_PYTHON.match, conda)), None)
        found = [_plain(root, prefix, "conda", version, suffix, match[1] if match else None)
                 for version, suffix in _libraries(root, prefix)]
        if found:
            return found
        return [Layout(prefix, "conda", None, None, None, None, (), (), _user(root, prefix),
                       None if conda else "its conda-meta folder is empty or cannot be read")]
    known = _kind_of(prefix)
    libraries = list(_libraries(root, prefix))
    # A folder of packages alone is what an upgrade left behind, or another prefix's Python looks into.
    own = [each for each in libraries if root.exists(f"{prefix}/bin/python{each[0]}{each[1]}")]
    return [
        _plain(root, prefix, kind if kind and known == "other" else known, version, suffix, _version_in_path(prefix))
        for version, suffix in own or libraries
    ]


def parse_pyvenv(text: str) -> dict[str, str]:
    """Read pyvenv.cfg: ``key = value`` lines, keys in lower case."""
    pairs = (line.partition("=") for line in text.splitlines()[:200])
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals and key.strip()}


def _venv(root: Root, prefix: str, config: Mapping[str, str]) -> Layout:
    kind: EnvironmentKind = "uv" if "uv" in config else "venv"
    version = config.get("version_info") or config.get("version") or ""
    number = re.match(r"3\.\d+(?:\.\d+)?", version)
    short = ".".join(number[0].split(".")[:2]) if number else None
    libraries = list(_libraries(root, prefix))
    chosen = next((each for each in libraries if each[0] == short), None) or next(iter(libraries), None)
    home = config.get("home", "")
    if chosen is None:
        return Layout(prefix, kind, number[0] if number else None, None, _interpreter(root, prefix, "3")[0], None, (),
                      (), _user(root, prefix), "it has no lib/python3 folder")
    interpreter, gone = _interpreter(root, prefix, chosen[0])
    folders = list(_folders(root, prefix, chosen))
    if config.get("include-system-site-packages", "").lower() == "true" and home:
        folders += _folders(root, home.rstrip("/").rpartition("/")[0] or "/usr", chosen)
    platform, rpath = _binary(root, interpreter)
    return Layout(prefix, kind, number[0] if number and short == chosen[0] else chosen[0], _abi(chosen), interpreter,
                  platform, rpath, tuple(dict.fromkeys(folders))[:_MAX_FOLDERS], _user(root, prefix),
                  f"its Python is gone: {gone}" if gone else None)


def _plain(
    root: Root, prefix: str, kind: EnvironmentKind, version: str, suffix: str, full: str | None
) -> Layout:
    interpreter, gone = _interpreter(root, prefix, version + suffix)
    platform, rpath = _binary(root, interpreter)
    if full is None or not (full + ".").startswith(version + "."):
        header = read_text(root, f"{prefix}/include/python{version}{suffix}/patchlevel.h", 1 << 14) or ""
        match = _PATCH.search(header)
        full = match[1] if match else version
    return Layout(prefix, kind, full, _abi((version, suffix)), interpreter, platform, rpath,
                  tuple(_folders(root, prefix, (version, suffix))), _user(root, prefix),
                  f"its Python is gone: {gone}" if gone else None)


def _kind_of(prefix: str) -> EnvironmentKind:
    if "/.pyenv/" in prefix or "/pyenv/versions/" in prefix:
        return "pyenv"
    if _UV_PYTHON.search(prefix + "-"):
        return "uv"
    return "system" if prefix in ("/usr", "/usr/local", "") else "other"


def _version_in_path(prefix: str) -> str | None:
    match = _UV_PYTHON.search(prefix) or _PYENV_PYTHON.search(prefix)
    return match[1] if match else None


def _libraries(root: Root, prefix: str) -> Iterator[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for folder in ("lib", "lib64"):
        for name in names_in(root, f"{prefix}/{folder}"):
            match = _LIBRARY.match(name)
            if match:
                found.add((match[1], match[2]))
    yield from sorted(found, key=lambda each: (int(each[0].partition(".")[2]), each[1]))[-_MAX_FOLDERS:]


def _folders(root: Root, prefix: str, library: tuple[str, str]) -> Iterator[str]:
    name = f"python{library[0]}{library[1]}"
    places = [f"{prefix}/lib/{name}/site-packages", f"{prefix}/lib64/{name}/site-packages"]
    if prefix == "/usr":
        # Debian's and Fedora's Pythons look into /usr/local first.
        places = [f"/usr/local/lib/{name}/dist-packages", f"/usr/local/lib/{name}/site-packages",
                  f"/usr/local/lib64/{name}/site-packages", "/usr/lib/python3/dist-packages",
                  f"/usr/lib/{name}/dist-packages", *places]
    seen: set[str] = set()
    for place in places:
        real = real_path(root, place)
        if real not in seen and root.exists(place):
            seen.add(real)
            yield place


def _interpreter(root: Root, prefix: str, version: str) -> tuple[str | None, str | None]:
    """Return the executable, and where a link to one leads that is no longer there."""
    gone = None
    for name in (f"python{version}", "python3", "python"):
        path = f"{prefix}/bin/{name}"
        if root.exists(path):
            return path, None
        target = root.readlink(path)
        gone = gone or (f"{path} points to {target}, which is not there" if target else None)
    return None, gone


def _binary(root: Root, interpreter: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the platform of an executable, and the folders that it makes the loader look into first."""
    if interpreter is None:
        return None, ()
    try:
        with open_regular(root, interpreter) as file:
            elf = read_elf(file)
    except (OSError, ElfError):
        return None, ()
    folder = real_path(root, interpreter).rpartition("/")[0]
    system = "musl" if "musl" in elf.interpreter else "linux"
    rpath = () if elf.runpath else tuple(part.replace("${ORIGIN}", folder).replace("$ORIGIN", folder)
                                         for part in elf.rpath)
    return f"{system}-{elf.machine}", rpath


def _abi(library: tuple[str, str]) -> str:
    return f"cp{library[0].replace('.', '')}{library[1]}"


def _user(root: Root, prefix: str) -> str | None:
    status = root.stat(prefix)
    if status is None:
        return None
    name = next((each.name for each in read_users(root) if each.uid == status.st_uid), None)
    return name or f"uid {status.st_uid}"
