"""Python environments with what decides whether an engine in them can use this machine's GPUs. Nothing is imported."""

import functools
import os
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.python_envs import ENGINES, LeftOut, PythonEnvironment, TorchBuild
from gpudoctor.probes.driver_libraries import folders_of
from gpudoctor.probes.env_binaries import Binaries, cuda_libraries, extensions, loader_choices, nvcc_in
from gpudoctor.probes.env_images import in_layer, layers
from gpudoctor.probes.env_layout import Layout, layouts
from gpudoctor.probes.env_packages import normalised, path_files, read_packages
from gpudoctor.probes.env_processes import Running, running
from gpudoctor.probes.env_search import Search
from gpudoctor.probes.env_torch import read_torch, torch_folder
from gpudoctor.probes.loader import Loader
from gpudoctor.probes.regular_file import names_in
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("python_envs",)
OPTIONS = ("python",)

#: More are counted, not read: torch's in particular are thousands of files each.
MAX_ENVIRONMENTS = 64
_MAX_LEFT_OUT = 200
_MAX_IN_CONTAINERS = 16
_LAST = 100
_PATIENCE_SECONDS = 8.0
_SECONDS_IN_ALL = 20.0


class _Candidate(NamedTuple):
    """An environment to be read: where, why, who runs it, and how much it matters."""

    root: Root
    layout: Layout
    found: tuple[str, ...]
    runs: tuple[Running, ...]
    container: str | None
    weight: int

    @property
    def name(self) -> str:
        where = f" in container {self.container}" if self.container else ""
        return f"environment {self.layout.path} ({self.layout.abi or 'no Python'}){where}"

    def placeholder(self) -> PythonEnvironment:
        """Return what is known without reading any package."""
        layout = self.layout
        return PythonEnvironment(
            path=layout.path, kind=layout.kind, found=self.found, user=layout.user, interpreter=layout.interpreter,
            python=layout.python, abi=layout.abi, platform=layout.platform, site_packages=layout.site_packages,
            pids=tuple(run.pid for run in self.runs)[:1024], container=self.container,
            loaded=tuple(each for run in self.runs for each in run.loaded)[:1024], failure=layout.failure,
        )


def probe(out: Reporter, root: Root, python: Sequence[str] | None = None) -> None:
    """Fill ``python_envs``.

    Args:
        out: Where facts go.
        root: The file system.
        python: Interpreters or prefixes that the user named.
    """
    started = time.monotonic()
    search = Search(out, root)
    asked = [path for path in python or () if path.startswith("/") and search.places.enter(path)]
    named = list(dict.fromkeys(search.prefix_of(path) for path in asked))
    for prefix in named:
        search.add(prefix, "option")
    environment = os.environ if root.live else {}
    search.variables(environment)
    runs = list(running(out, root, (os.getpid(), os.getppid())))
    for run in runs:
        if run.root is None:
            search.add(run.prefix, "process")
    search.everywhere()
    candidates = _candidates(root, search, runs)
    _missing(out, root, named, candidates)
    kept = candidates[:MAX_ENVIRONMENTS]
    out.set("python_envs", more=len(candidates) - len(kept))
    for left in search.left_out[:_MAX_LEFT_OUT]:
        out.append("python_envs", "left_out", left)
    for each in kept:
        if not out.left_out(each.name):
            out.start(each.name, patience=_PATIENCE_SECONDS, section="python_envs", field="environments",
                      placeholder=each.placeholder(), promised=True)
    library_path = folders_of(environment.get("LD_LIBRARY_PATH", ""))
    dead = _dead_folders(root, search, [library_path, *(run.library_path or () for run in runs if run.root is None)])
    _read_all(out, root, kept, started, library_path, dead)


def _dead_folders(root: Root, search: Search, paths: Iterable[Sequence[str]]) -> frozenset[str]:
    """Touch each folder of ``LD_LIBRARY_PATH`` once; one that hangs must not do so anew in every environment."""
    dead: set[str] = set()
    for folder in dict.fromkeys(folder for path in paths for folder in path):
        if search.places.enter(folder):
            root.exists(folder)
        else:
            dead.add(folder)
    return frozenset(dead)


def _read_all(
    out: Reporter, root: Root, candidates: Sequence[_Candidate], started: float, library_path: tuple[str, ...],
    dead: frozenset[str],
) -> None:
    binaries = Binaries(root)
    for each in candidates:
        if out.left_out(each.name):
            continue
        out.start(each.name, doing="reading its packages")
        binaries.tell = functools.partial(_looking_into, out, each.name)
        if time.monotonic() - started > _SECONDS_IN_ALL:
            said = msgspec.structs.replace(each.placeholder(), failure="not read: the probe's time was used up")
        else:
            try:
                said = read_environment(each, binaries, library_path, dead)
            except PermissionError as error:
                said = msgspec.structs.replace(each.placeholder(), failure=f"no permission to read {error.filename}")
            except (OSError, ValueError, RecursionError) as error:
                said = msgspec.structs.replace(
                    each.placeholder(), failure=f"{type(error).__name__}: {error}"[:300])
        out.append("python_envs", "environments", said)


def _looking_into(out: Reporter, item: str, path: str) -> None:
    out.start(item, doing=f"looking into {path}")


def _missing(out: Reporter, root: Root, named: Sequence[str], candidates: Sequence[_Candidate]) -> None:
    """An environment that the user named is never passed over in silence."""
    known = {each.layout.path for each in candidates}
    for prefix in named:
        if prefix not in known:
            why = "no Python environment" if root.exists(prefix) else "not there"
            out.append("python_envs", "left_out", LeftOut(path=prefix, failure=f"named with --python, but {why}"))


def _candidates(root: Root, search: Search, runs: Sequence[Running]) -> list[_Candidate]:
    found: list[_Candidate] = []
    for prefix, why in search.found.items():
        if not search.places.enter(prefix):
            continue
        on_it = tuple(run for run in runs if run.root is None and run.prefix == prefix)
        for layout in layouts(root, prefix, "process" if why == ["process"] else None):
            found.append(_candidate(root, layout, tuple(why), on_it, None))
    inside: dict[tuple[str, str], list[Running]] = {}
    for run in runs:
        if run.root is not None:
            inside.setdefault((run.container or "", run.prefix), []).append(run)
    for (container, prefix), there in list(inside.items())[:_MAX_IN_CONTAINERS]:
        below = Root(str(root.path(there[0].root or "/")))
        for layout in layouts(below, prefix, "process"):
            found.append(_candidate(below, layout, ("process",), tuple(there), container))
    for layer, tree in layers(root, search):
        in_it = (_candidate(tree, layout, ("image",), (), f"image:{layer}") for layout in in_layer(tree))
        # Nobody runs them yet, so whatever lies on the machine itself is read first.
        found += [each._replace(weight=each.weight - _LAST) for each in in_it if each.weight]
    return sorted(found, key=lambda each: -each.weight)


def _candidate(
    root: Root, layout: Layout, why: tuple[str, ...], runs: tuple[Running, ...], container: str | None
) -> _Candidate:
    """Weigh an environment by one look at its packages: what was named, runs, or has an engine comes first."""
    names = {normalised(name.partition("-")[0]) for folder in layout.site_packages for name in names_in(root, folder)}
    weight = 0
    weight += 8 if "option" in why else 0
    weight += 4 if names & set(ENGINES) else 0
    weight += 2 if "torch" in names else 0
    weight += 1 if {"process", "active"} & set(why) else 0
    return _Candidate(root, layout, why, runs, container, weight)


def read_environment(
    candidate: _Candidate, binaries: Binaries, library_path: tuple[str, ...], dead: frozenset[str] = frozenset()
) -> PythonEnvironment:
    """Read one environment's packages, torch, libraries and what the loader would do.

    Args:
        candidate: The environment.
        binaries: Scans of compiled files, shared by all.
        library_path: This user's ``LD_LIBRARY_PATH``; a running process's own counts before it.
        dead: Folders that must not be touched.
    """
    root, layout = candidate.root, candidate.layout
    folders = list(layout.site_packages)
    for folder in layout.site_packages:
        folders += [each for each in path_files(root, folder) if each not in folders]
    prefix = layout.path if layout.kind == "conda" else None
    installed = read_packages(root, folders, prefix)
    packages = {each.name: each for each in installed.packages}
    libraries = cuda_libraries(root, folders, prefix, packages)
    compiled = extensions(root, binaries, folders, installed.packages, installed.records)
    path = torch_folder(root, folders)
    recorded = packages["torch"].version if "torch" in packages else None
    torch: TorchBuild | Unavailable | None = None
    if path is not None:
        torch = read_torch(root, binaries, path, recorded)
    elif "torch" in packages:
        torch = Unavailable(f"torch {recorded or ''} is recorded as installed, but its files are not there")
    used = next((run.library_path for run in candidate.runs if run.library_path is not None), library_path)
    cuda = torch.cuda if isinstance(torch, TorchBuild) and isinstance(torch.cuda, str) else None
    loader = Loader(root, [folder for folder in used if folder not in dead])
    loads = loader_choices(loader, layout.rpath, path, cuda, compiled, libraries)
    return msgspec.structs.replace(
        candidate.placeholder(),
        package_count=installed.total,
        packages=installed.packages,
        editable=installed.editable,
        nvcc=nvcc_in(root, folders, layout.path),
        torch=torch,
        libraries=libraries,
        extensions=tuple(each.extension for each in compiled),
        loads=loads,
        problems=installed.problems,
    )
