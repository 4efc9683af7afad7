"""The processes behind an endpoint: their flags and variables that say how it serves, and all beneath them."""

import psutil

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.serving import Variables
from gpudoctor.judging.engine_flags import read_flags
from gpudoctor.probes.environment import allowed
from gpudoctor.probes.root import Root

_MOST_PIDS = 512
_VARIABLES = ("OLLAMA_", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_HIDDEN = Unavailable("this user may not see the engine's variables", "no-permission")
_NO_PROCESS = Unavailable("the engine's process is not visible from here", "not-applicable")


class Behind:
    """The process that listens and its descendants; both may be hidden from this user."""

    def __init__(self, root: Root, pid: int | None) -> None:
        self._root = root
        self.pids: tuple[int, ...] = ()
        self._arguments: list[str] = []
        self._children: list[list[str]] = []
        if pid is None:
            return
        psutil.PROCFS_PATH = str(root.path("/proc"))
        try:
            process = psutil.Process(pid)
            family = [process, *process.children(recursive=True)][:_MOST_PIDS]
        except (psutil.Error, OSError, ValueError):
            return
        self.pids = tuple(each.pid for each in family)
        self._arguments = _arguments(process)
        self._children = [_arguments(each) for each in family[1:]]

    def listens_by_choice(self, port: int) -> bool:
        """True when the process was told to serve on this port; helpers of engines listen on ports of their own."""
        if "runner" in self._arguments[1:3]:
            return False
        return self.settings().get("port") == str(port) or self._ollama_host().endswith(f":{port}")

    def _ollama_host(self) -> str:
        environment = self.environment()
        return "" if isinstance(environment, Unavailable) else environment.values.get("OLLAMA_HOST", "").rstrip("/")

    def settings(self) -> dict[str, str]:
        """Return the known flags of its command line; when it has none (a shell, Ollama), those of what it started."""
        own = read_flags(self._arguments)
        below = (read_flags(each) for each in self._children)
        # A runner's port is between it and its server.
        return own or {name: value for name, value in next(filter(None, below), {}).items() if name != "port"}

    def environment(self) -> Variables | Unavailable:
        """Return the variables of the process that matter here."""
        if not self.pids:
            return _NO_PROCESS
        try:
            data = self._root.read_bytes(f"/proc/{self.pids[0]}/environ", 1 << 20)
        except PermissionError:
            return _HIDDEN
        if not data:
            return _HIDDEN
        pairs = (part.decode("utf-8", "replace").partition("=") for part in data.split(b"\0") if part)
        kept = allowed({name: value for name, _, value in pairs})
        return Variables(values={name: value for name, value in kept.items() if name.startswith(_VARIABLES)})


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.Error, OSError, ValueError):
        return []
