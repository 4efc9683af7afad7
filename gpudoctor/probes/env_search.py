"""Where Python environments lie: the usual places of every home, /opt and its like, and what the user named."""

import os
from collections.abc import Iterator, Mapping

from gpudoctor.facts.python_envs import LeftOut
from gpudoctor.probes.env_layout import is_environment
from gpudoctor.probes.places import Places
from gpudoctor.probes.regular_file import folders_in, names_in, read_text, real_path
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root
from gpudoctor.probes.users import read_users

#: Folders whose children are environments.
_COLLECTIONS = (
    ".virtualenvs", "virtualenvs", "venvs", ".venvs", "envs", ".local/share/virtualenvs", ".local/share/uv/tools",
    ".local/share/uv/python", ".local/share/pipx/venvs", ".local/pipx/venvs", ".cache/pypoetry/virtualenvs",
    ".pyenv/versions", "pyenv/versions", ".conda/envs", ".local/share/mamba/envs", "micromamba/envs", "uv/tools",
    "uv/python", "pipx/venvs", ".local/share/mise/installs/python", ".asdf/installs/python",
)
_CONDA_ROOTS = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "miniconda", "anaconda", "conda", "miniforge",
                "micromamba", ".local/share/mamba", ".mambaforge", "opt/conda")
#: What people call an environment inside a project.
_INSIDE = (".venv", "venv", "env", ".env", "python")
#: Folders of projects: their children are looked into, too.
_PROJECTS = ("projects", "src", "code", "work", "workspace", "repos", "git", "dev", "apps", "llm", "ai", "models")
#: Places outside homes where servers keep their environments.
_SHARED = ("/opt", "/srv", "/data", "/workspace", "/app", "/usr/local", "/var/lib")
_MAX_CHILDREN = 300
_MAX_PLACES = 20_000
_MAX_LISTED = 500
_MAX_LINE = 1024


class Search:
    """Collects prefixes and why each was looked at, within a bounded number of looks.

    A place on a file system that hangs is given up by the parent process; the next child leaves it out, and with it
    every other place on the same mount.
    """

    def __init__(self, out: Reporter, root: Root) -> None:
        self.found: dict[str, list[str]] = {}
        self.left_out: list[LeftOut] = []
        self.places = Places(out, root, "python_envs")
        self._root = root
        self._looks = 0
        self._seen: dict[str, str] = {}

    def add(self, prefix: str, why: str) -> None:
        """Remember a prefix; links to one folder count once, under the name that came first."""
        prefix = prefix.rstrip("/") or "/"
        real = self._seen.setdefault(real_path(self._root, prefix), prefix)
        reasons = self.found.setdefault(real, [])
        if why not in reasons:
            reasons.append(why)

    def everywhere(self) -> None:
        """Look into the system's prefixes, every home, and the shared places."""
        for prefix in ("/usr", "/usr/local"):
            if self._enter(prefix):
                self._try(prefix, "system")
        homes = [user.home for user in read_users(self._root) if user.is_person]
        if self._enter("/home"):
            homes += [f"/home/{name}" for name in folders_in(self._root, "/home", _MAX_CHILDREN)]
        for home in dict.fromkeys(home for home in homes if home not in ("/", "/usr", "/home")):
            if self._enter(home):
                self._home(home)
        for place in _SHARED:
            if self._enter(place):
                self._shared(place)
        if self._looks >= _MAX_PLACES:
            self.left_out.append(LeftOut(path="/", failure=f"the search ended after {_MAX_PLACES} places"))

    def variables(self, environment: Mapping[str, str]) -> None:
        """Add what this user's variables point to: the active environment, and the first Python on PATH."""
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
            if environment.get(name, "").startswith("/") and self._enter(environment[name]):
                self._try(environment[name], "active")
        for folder in environment.get("PATH", "").split(":")[:100]:
            names = ("python3", "python")
            if not folder.startswith("/") or not self.places.enter(folder):
                continue
            there = any(self._root.exists(f"{folder}/{name}") for name in names)
            # A shim (pyenv, asdf) is a script that belongs to no prefix: the next one on PATH is looked at.
            if there and self._try(self.prefix_of(f"{folder}/python3"), "path"):
                break

    def prefix_of(self, path: str) -> str:
        """Return the prefix of an interpreter, which in a venv is a link, or of a prefix itself."""
        path = os.path.normpath(path)
        if self._root.path(path).is_dir():
            return path
        folder = os.path.dirname(os.path.dirname(path))
        if self._root.exists(f"{folder}/pyvenv.cfg") or self._root.exists(f"{folder}/conda-meta"):
            return folder
        return os.path.dirname(os.path.dirname(real_path(self._root, path))) or "/"

    def _enter(self, place: str) -> bool:
        """Announce a place and list it; False when it hung before, or may not be listed."""
        if not self.places.enter(place):
            return False
        try:
            self._root.list(place)
        except PermissionError:
            self.left_out.append(LeftOut(path=place, failure="no permission to list it"))
            return False
        return True

    def _try(self, prefix: str, why: str) -> bool:
        if self._looks >= _MAX_PLACES:
            return False
        self._looks += 1
        if not is_environment(self._root, prefix):
            return False
        self.add(prefix, why)
        return True

    def _children(self, folder: str) -> Iterator[str]:
        names = folders_in(self._root, folder, _MAX_CHILDREN + 1)
        if len(names) > _MAX_CHILDREN:
            self.left_out.append(LeftOut(path=folder, failure=f"only its first {_MAX_CHILDREN} folders were looked at"))
        for child in (f"{folder}/{name}" for name in names[:_MAX_CHILDREN]):
            if not self.places.is_volume(child):
                yield child
            elif self._enter(child):
                yield child
                self.places.enter(folder)

    def _home(self, home: str) -> None:
        for name in _COLLECTIONS:
            for child in self._children(f"{home}/{name}"):
                self._try(child, _reason(child))
                if child.endswith("/python") or "/.pyenv/" in child:
                    for below in self._children(f"{child}/envs"):
                        self._try(below, "pyenv")
        for name in _CONDA_ROOTS:
            self._conda(f"{home}/{name}", "home")
        text = read_text(self._root, f"{home}/.conda/environments.txt", 1 << 18) or ""
        for line in text.splitlines()[:_MAX_LISTED]:
            if line.startswith("/") and len(line) < _MAX_LINE:
                self._try(line.strip(), "conda-list")
        self._projects(home, "home")
        for name in _PROJECTS:
            self._projects(f"{home}/{name}", "home")
        # Packages installed with pip --user belong to no other prefix.
        if self._root.exists(f"{home}/.local/lib") and any(
            self._root.exists(f"{home}/.local/lib/{name}/site-packages")
            for name in names_in(self._root, f"{home}/.local/lib", 100) if name.startswith("python3.")
        ):
            self.add(f"{home}/.local", "home")

    def _projects(self, folder: str, why: str) -> None:
        for name in _INSIDE:
            self._try(f"{folder}/{name}", why)
        for child in self._children(folder):
            if "/." not in child[len(folder) :]:
                for name in _INSIDE:
                    self._try(f"{child}/{name}", why)

    def _conda(self, folder: str, why: str) -> None:
        if self._try(folder, why) or self._root.exists(f"{folder}/envs"):
            for child in self._children(f"{folder}/envs"):
                self._try(child, why)

    def _shared(self, place: str) -> None:
        for name in _COLLECTIONS:
            for child in self._children(f"{place}/{name}"):
                self._try(child, "opt")
        for child in self._children(place):
            if self._try(child, "opt"):
                for below in self._children(f"{child}/envs"):
                    self._try(below, "opt")
                continue
            for name in _INSIDE:
                self._try(f"{child}/{name}", "opt")
            if child.rpartition("/")[2] in ("venvs", "envs", "virtualenvs", "python", "conda", "apps"):
                for below in self._children(child):
                    self._try(below, "opt")


def _reason(path: str) -> str:
    if "/.pyenv/" in path or "/pyenv/" in path:
        return "pyenv"
    return "uv" if "/uv/" in path else "home"
