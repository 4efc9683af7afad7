"""The live probe: one image through each path by which GPUs reach containers, and a look into those that run.

What it starts has no network, a read-only root, no capabilities and no new privileges, carries a label, and is
removed in any case: by itself, by its guardian when it is killed, or by the next ``--live`` run.
"""

import os
import time
from collections.abc import Sequence
from typing import Any, Literal

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.live import LivePath, Seen
from gpudoctor.probes import live_program, live_script
from gpudoctor.probes.clock import same_kernel
from gpudoctor.probes.engine_socket import find_engine
from gpudoctor.probes.live_engine import EngineError, LiveEngine, run_id
from gpudoctor.probes.live_guardian import dismiss, guard
from gpudoctor.probes.live_here import gpu_containers, image_to_try, look_into
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("live",)
OPTIONS = ("gpus", "probe_image", "patience")

PATHS = ("--gpus", "runtime: nvidia", "CDI")
#: For one container from create to its end; a driver that starts cold takes some seconds for each GPU.
TRY_SECONDS = 40.0
_GRACE = 15.0
_MEMORY_BYTES = 4 << 30
_PROCESSES = 256
#: What is run, one after the other until one can be; and what the engine names when it cannot.
Way = Literal["program", "shell", "nvidia-smi"]
WAYS: tuple[Way, ...] = ("program", "shell", "nvidia-smi")
_FIRST = {"program": live_program.PROGRAM, "shell": "/bin/sh", "nvidia-smi": "nvidia-smi"}
_NOTHING_RUNS = "the image has no shell, and nvidia-smi does not run in it; try another with --probe-image"


def probe(
    out: Reporter, root: Root, gpus: Sequence[int] | None = None, probe_image: str | None = None,
    patience: float = TRY_SECONDS,
) -> None:
    """Try the paths with ``probe_image`` or the image of a GPU container that is here; then look into those that run.

    Args:
        out: Where the facts go.
        root: Only this machine's own can be tried.
        gpus: Ask for these only.
        probe_image: An image that is on this machine; nothing is pulled.
        patience: Seconds for each request of one path, its container's life among them.
    """
    if not same_kernel(root):
        out.unavailable("live", "the files are another machine's; its engine cannot be tried", "not-applicable")
        return
    found = find_engine(root, os.environ)
    if isinstance(found, Unavailable):
        out.unavailable("live", found.reason, found.kind)
        return
    run = run_id()
    try:
        engine = LiveEngine(found.address, run)
        version = engine.version()
        leftovers = engine.remove_leftovers()
        containers = gpu_containers(engine)
        image, image_from = image_to_try(engine, probe_image, containers)
    except TimeoutError as error:
        out.unavailable("live", f"the engine hangs: {error}", "timeout")
        return
    except EngineError as error:
        out.unavailable("live", str(error), "no-permission" if error.status == 403 else "error")
        return
    if image is None:
        out.unavailable("live", image_from or "no image", "error")
        return
    out.set("live", image=image, image_from=image_from, engine_version=version, leftovers=leftovers)
    pipe = guard(found.address, run)
    clean = False
    try:
        clean = _try_paths(out, engine, image, tuple(str(gpu) for gpu in gpus or ()), patience)
    finally:
        dismiss(pipe, clean=clean)
    look_into(out, engine, containers)


def _try_paths(
    out: Reporter, engine: LiveEngine, image: str, asked: tuple[str, ...], patience: float
) -> bool:
    """Try them one after the other; return whether each came to its end, so that no container can be left."""
    for path in PATHS:
        out.start(path, doing="its container", patience=2 * patience + _GRACE, section="live", field="paths",
                  placeholder=LivePath(path=path, asked=asked or ("all",)), promised=True)
    ways, clean = WAYS if live_program.archive() else WAYS[1:], True
    for path in PATHS:
        if out.left_out(path):
            continue
        out.start(path, doing="its container")
        each = (_tried(engine, path, image, asked, way, patience) for way in ways)
        tried = next(found for found in each if found is not None)
        out.append("live", "paths", tried)
        clean = clean and tried.failure is None
    return clean


def _tried(
    engine: LiveEngine, path: str, image: str, asked: tuple[str, ...], way: Way, patience: float
) -> LivePath | None:
    """Return what came of one container; None where another way is left, and this one does not run in the image."""
    began = time.monotonic()
    facts: dict[str, Any] = {"path": path, "asked": asked or ("all",)}
    container = None
    try:
        container = engine.create(_config(path, image, asked, way), patience)
        facts["created"] = True
        if way == "program" and not _delivered(engine, container, patience):
            return None
        engine.start(container, patience)
        facts["started"] = True
        facts["exit_code"] = code = engine.wait(container, patience)
        said = engine.logs(container)
        facts["seen"] = seen = live_script.read_smi(code, said) if way == "nvidia-smi" else live_script.read(said)
        if seen.inside is None:
            if way == "program":
                return None
            facts["failure"] = _NOTHING_RUNS
    except TimeoutError:
        facts["failure"] = f"it did not come to its end within {patience:g} s"
        if container is not None and facts.get("started"):
            facts["seen"] = _so_far(engine, container)
    except EngineError as error:
        # What it cannot start is said at the start; that it makes no volumes of this kind, before.
        ours = _FIRST[way] if facts.get("created") else "mount" if way == "program" else None
        if ours is not None and ours in str(error):
            if way != WAYS[-1]:
                return None
            facts["failure"] = _NOTHING_RUNS
        facts["error"] = str(error)
    finally:
        if container is not None:
            try:
                engine.remove(container)
            except (EngineError, TimeoutError) as error:
                facts.setdefault("failure", f"its container could not be removed: {error}")
    facts["duration_seconds"] = round(time.monotonic() - began, 3)
    return LivePath(**facts)


def _delivered(engine: LiveEngine, container: str, seconds: float) -> bool:
    """Give gpudoctor's program to a container; False where the engine does not take it."""
    try:
        engine.put(container, live_program.FOLDER, live_program.archive() or b"", seconds)
    except EngineError:
        return False
    return True


def _so_far(engine: LiveEngine, container: str) -> Seen:
    try:
        return live_script.read(engine.logs(container))
    except (EngineError, TimeoutError):
        return Seen()


def _config(path: str, image: str, asked: tuple[str, ...], way: Way) -> dict[str, Any]:
    host: dict[str, Any] = {
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Memory": _MEMORY_BYTES,
        "PidsLimit": _PROCESSES,
        "RestartPolicy": {"Name": "no"},
        # Whatever the daemon's own log driver is, this one can be read back; one small file.
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
    }
    # What CUDA needs is asked for by name: the toolkit may bring nvidia-smi alone.
    variables = ["NVIDIA_DRIVER_CAPABILITIES=compute,utility"]
    if path == "--gpus":
        chosen: dict[str, Any] = {"DeviceIDs": list(asked)} if asked else {"Count": -1}
        host["DeviceRequests"] = [{"Driver": "", "Capabilities": [["gpu"]], **chosen}]
    elif path == "CDI":
        names = [f"nvidia.com/gpu={name}" for name in asked or ("all",)]
        host["DeviceRequests"] = [{"Driver": "cdi", "DeviceIDs": names}]
    else:
        host["Runtime"] = "nvidia"
        variables.append(f"NVIDIA_VISIBLE_DEVICES={','.join(asked) or 'all'}")
    if way == "program":
        host["Mounts"] = [live_program.MOUNT]
    command = {"program": live_program.command, "shell": live_script.shell_command}.get(way, _smi)("try")
    if way != "nvidia-smi":
        # The image's own choice of devices is not a property of the path.
        variables += [f"{live_script.PROGRAM_VARIABLE}={live_script.program()}", "CUDA_DEVICE_ORDER=PCI_BUS_ID"]
    return {
        "Image": image, "Entrypoint": command[:1], "Cmd": command[1:], "Env": variables, "WorkingDir": "/",
        "Healthcheck": {"Test": ["NONE"]}, "HostConfig": host,
    }  # fmt: skip


def _smi(_: str) -> list[str]:
    return ["nvidia-smi", "-L"]
