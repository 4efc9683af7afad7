"""The GPU containers that are here: the image that one of them lends to ``--live``, and a look into those that run."""

from typing import Any
from urllib.parse import quote

from gpudoctor.facts.live import LiveContainer
from gpudoctor.probes import live_script
from gpudoctor.probes.live_engine import LABEL, EngineError, LiveEngine
from gpudoctor.probes.reporter import Reporter

LOOK_SECONDS = 15.0
_GRACE = 15.0
_MOST_CONTAINERS = 64
_NOTHING_RUNS = "it has no shell, and nvidia-smi does not run in it"
#: NVIDIA's variables that choose no GPUs: the values of NVIDIA_VISIBLE_DEVICES that ask for none.
_NONE_ASKED = ("", "void", "none")


def gpu_containers(engine: LiveEngine) -> list[dict[str, Any]]:
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


def image_to_try(
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


def look_into(out: Reporter, engine: LiveEngine, containers: list[dict[str, Any]]) -> None:
    """Look into each that runs: device files and NVML, without a word to CUDA, whose memory is in use."""
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
        code, said = _run(engine, facts["id"], live_script.shell_command("look"), variables)
        seen, why = live_script.read(said), f"the look into it ended with code {code}"
        if code is None:
            seen, why = live_script.read_smi(*_run(engine, facts["id"], ["nvidia-smi", "-L"], [])), _NOTHING_RUNS
    except TimeoutError:
        return LiveContainer(**facts, failure=f"the look into it did not end within {LOOK_SECONDS:g} s")
    except EngineError as error:
        return LiveContainer(**facts, failure=str(error)[:300])
    if seen.inside is None:
        return LiveContainer(**facts, failure=why)
    return LiveContainer(**facts, seen=seen)


def _run(engine: LiveEngine, container: str, command: list[str], variables: list[str]) -> tuple[int | None, bytes]:
    """Return the exit code, None where there is no such program, and what it wrote."""
    try:
        code, said = engine.look(container, command, variables, LOOK_SECONDS)
    except EngineError as error:
        if command[0] in str(error):
            return None, b""
        raise
    # Engines before 28 say it as if the program had.
    absent = code in (126, 127) and command[0].encode() in said
    return (None, b"") if absent else (code, said)
