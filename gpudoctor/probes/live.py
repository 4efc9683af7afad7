"""The live probe: one image through each path by which GPUs reach containers, and a look into those that run.

What it starts has no network, a read-only root, no capabilities and no new privileges, carries a label, and is
removed in any case: by itself, by its guardian when it is killed, or by the next ``--live`` run.
"""

import os
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.live import LiveContainer, LivePath, Seen
from gpudoctor.probes import live_script
from gpudoctor.probes.clock import same_kernel
from gpudoctor.probes.engine_socket import find_engine
from gpudoctor.probes.live_engine import LABEL, EngineError, LiveEngine, run_id
from gpudoctor.probes.live_guardian import dismiss, guard
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("live",)
OPTIONS = ("gpus", "probe_image", "patience")

PATHS = ("--gpus", "runtime: nvidia", "CDI")
#: For one container from create to its end; a driver that starts cold takes some seconds for each GPU.
TRY_SECONDS, LOOK_SECONDS = 40.0, 15.0
_GRACE = 15.0
_MOST_CONTAINERS = 64
_MEMORY_BYTES = 4 << 30
_PROCESSES = 256
_NOTHING_RUNS = "the image has no shell, and nvidia-smi does not run in it; try another with --probe-image"
#: NVIDIA's variables that choose no GPUs: the values of NVIDIA_VISIBLE_DEVICES that ask for none.
_NONE_ASKED = ("", "void", "none")


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
        containers = _gpu_containers(engine)
        image, image_from = _image(engine, probe_image, containers)
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
    _look_into(out, engine, containers)


def _try_paths(
    out: Reporter, engine: LiveEngine, image: str, asked: tuple[str, ...], patience: float
) -> bool:
    """Try them one after the other; return whether each came to its end, so that no container can be left."""
    for path in PATHS:
        out.start(path, doing="its container", patience=2 * patience + _GRACE, section="live", field="paths",
                  placeholder=LivePath(path=path, asked=asked or ("all",)), promised=True)
    shell = clean = True
    for path in PATHS:
        if out.left_out(path):
            continue
        out.start(path, doing="its container")
        tried, no_shell = _tried(engine, path, image, asked, shell, patience)
        if no_shell:
            shell = False
            tried, _ = _tried(engine, path, image, asked, shell, patience)
        out.append("live", "paths", tried)
        clean = clean and tried.failure is None
    return clean


def _tried(
    engine: LiveEngine, path: str, image: str, asked: tuple[str, ...], shell: bool, patience: float
) -> tuple[LivePath, bool]:
    """Return what came of one container, and whether the only trouble was that the image has no shell."""
    began = time.monotonic()
    facts: dict[str, Any] = {"path": path, "asked": asked or ("all",)}
    container = None
    try:
        container = engine.create(_config(path, image, asked, shell), patience)
        facts["created"] = True
        engine.start(container, patience)
        facts["started"] = True
        facts["exit_code"] = code = engine.wait(container, patience)
        facts["seen"] = seen = _seen(engine.logs(container), code, shell)
        if seen.inside is None:
            facts["failure"] = _NOTHING_RUNS
    except TimeoutError:
        facts["failure"] = f"it did not come to its end within {patience:g} s"
        if container is not None and facts.get("started"):
            facts["seen"] = _so_far(engine, container)
    except EngineError as error:
        if shell and "/bin/sh" in str(error) and facts.get("created"):
            return LivePath(**facts), True
        facts["error"] = str(error)
        if "nvidia-smi" in str(error) and not shell:
            facts["failure"] = _NOTHING_RUNS
    finally:
        if container is not None:
            try:
                engine.remove(container)
            except (EngineError, TimeoutError) as error:
                facts.setdefault("failure", f"its container could not be removed: {error}")
    facts["duration_seconds"] = round(time.monotonic() - began, 3)
    return LivePath(**facts), False


def _seen(output: bytes, code: int, shell: bool) -> Seen:
    if shell:
        return live_script.read(output)
    lines = output[: live_script.MAX_OUTPUT_BYTES].decode("utf-8", "replace").splitlines()
    facts = live_script.smi(lines, code)
    return Seen(inside="nvidia-smi", **facts) if facts else Seen()


def _so_far(engine: LiveEngine, container: str) -> Seen:
    try:
        return live_script.read(engine.logs(container))
    except (EngineError, TimeoutError):
        return Seen()


def _config(path: str, image: str, asked: tuple[str, ...], shell: bool) -> dict[str, Any]:
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
    command = live_script.shell_command("try") if shell else ["nvidia-smi", "-L"]
    if shell:
        # The image's own choice of devices is not a property of the path.
        variables += [f"{live_script.PROGRAM_VARIABLE}={live_script.program()}", "CUDA_DEVICE_ORDER=PCI_BUS_ID"]
    return {
        "Image": image, "Entrypoint": command[:1], "Cmd": command[1:], "Env": variables, "WorkingDir": "/",
        "Healthcheck": {"Test": ["NONE"]}, "HostConfig": host,
    }  # fmt: skip


def _gpu_containers(engine: LiveEngine) -> list[dict[str, Any]]:
    """Return what the engine says of the GPU containers that are here, those that run first."""
    listed = engine.get("/containers/json", all="1")
    ids = [str(each["Id"]) for each in listed if LABEL not in (each.get("Labels") or {})]
    found = []
    for container in ids[:_MOST_CONTAINERS]:
        try:
            said = engine.get(f"/containers/{container}/json")
        except EngineError:
            continue  # It ended meanwhile.
        if _asks_for_gpus(said):
            found.append(said)
    return sorted(found, key=lambda said: not _runs(said))


def _runs(said: dict[str, Any]) -> bool:
    state = said.get("State") or {}
    return bool(state.get("Running")) and not state.get("Paused")


def _asks_for_gpus(said: dict[str, Any]) -> bool:
    host = said.get("HostConfig") or {}
    for wish in host.get("DeviceRequests") or ():
        if wish.get("Driver") in ("nvidia", "cdi") or any("gpu" in each for each in wish.get("Capabilities") or ()):
            return True
    if any("/dev/nvidia" in str(each.get("PathOnHost")) for each in host.get("Devices") or ()):
        return True
    variables = dict(str(each).partition("=")[::2] for each in (said.get("Config") or {}).get("Env") or ())
    asked = variables.get("NVIDIA_VISIBLE_DEVICES", "")
    return "nvidia" in str(host.get("Runtime")) and asked not in _NONE_ASKED


def _image(
    engine: LiveEngine, wish: str | None, containers: list[dict[str, Any]]
) -> tuple[str | None, str | None]:
    """Return the image to try with and whose it is; None with the reason."""
    if wish is not None:
        try:
            engine.get(f"/images/{quote(wish, safe='/:@')}/json")
        except EngineError as error:
            if error.status == 404:
                return None, f"there is no image {wish} on this machine, and nothing is pulled"
            raise
        return wish, None
    for said in containers:
        image = str((said.get("Config") or {}).get("Image") or said.get("Image"))
        return image, str(said.get("Name", "")).lstrip("/")
    return None, "no GPU container is here whose image could be used: name one with --probe-image"


def _look_into(out: Reporter, engine: LiveEngine, containers: list[dict[str, Any]]) -> None:
    running = [said for said in containers if _runs(said)]
    for said in running:
        name = str(said.get("Name", "")).lstrip("/")[:200]
        item = f"container {name}"
        if out.left_out(item):
            continue
        facts: dict[str, Any] = {"id": str(said["Id"])[:64], "name": name}
        out.start(item, doing="a look into it", patience=2 * LOOK_SECONDS + _GRACE, section="live", field="containers",
                  placeholder=LiveContainer(**facts))
        out.append("live", "containers", _looked(engine, facts))


def _looked(engine: LiveEngine, facts: dict[str, Any]) -> LiveContainer:
    variables = [f"{live_script.PROGRAM_VARIABLE}={live_script.program()}"]
    try:
        code, said = engine.look(facts["id"], live_script.shell_command("look"), variables, LOOK_SECONDS)
    except TimeoutError:
        return LiveContainer(**facts, failure=f"the look into it did not end within {LOOK_SECONDS:g} s")
    except EngineError as error:
        return LiveContainer(**facts, failure="it has no shell" if "/bin/sh" in str(error) else str(error)[:300])
    seen = live_script.read(said)
    if seen.inside is None:
        why = "it has no shell" if b"/bin/sh" in said else f"the look into it ended with code {code}"
        return LiveContainer(**facts, failure=why)
    return LiveContainer(**facts, seen=seen)
