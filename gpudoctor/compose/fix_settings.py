"""Fixes of single settings: shared memory, the obsolete version, open ports, variables that nothing reads, context."""

import re
from typing import Any

from gpudoctor.compose.edit_tree import Refused
from gpudoctor.compose.edits import Edit, Path
from gpudoctor.compose.fix_asks import Ask, remove_variable, variables
from gpudoctor.compose.tree import text_of

#: Room for NCCL and the workers of eight GPUs; a limit, not a reservation.
SHM_SIZE = "16gb"
_PORT = re.compile(
    r"(?:(?:0\.0\.0\.0|\[::\]|::)?:)?(?P<rest>(?:(?:\d+(?:-\d+)?|\$\{?\w+(?::?-\d+)?\}?):)?\d+(?:-\d+)?(?:/\w+)?)"
)


def drop_version(edit: Edit, ask: Ask) -> str:
    """Remove the top-level version, which Compose v2 does not read."""
    version = edit.get(("version",))
    if version is None:
        raise Refused("no version is written in this file")
    if ask.compose_v1:
        raise Refused("this machine has Compose v1 only, which reads it")
    edit.delete(("version",))
    return f"remove version: {text_of(version)}"


def spell_key(edit: Edit, ask: Ask) -> str:
    """Write a misspelt key as the specification has it."""
    if not ask.near:
        raise Refused("it resembles no key that belongs there: remove it, move it, or let its name begin with x-")
    below = tuple(int(part) if part.isdigit() else part for part in re.split(r"[.\[]", ask.key.replace("]", "")))
    path: Path = (*(ask.path if ask.service else ()), *below)
    edit.rename(path, ask.near)
    return f"rename {ask.key} to {ask.near}"


def enlarge_shm(edit: Edit, ask: Ask) -> str:
    """Set shm_size, which keeps the container's own memory; ``ipc: host`` would do, and share the host's."""
    path = (*ask.path, "shm_size")
    ipc, size = edit.get((*ask.path, "ipc")), edit.get(path)
    if ipc not in (None, "private", "shareable"):
        raise Refused(f"its shared memory is that of ipc: {ipc}: enlarge it there")
    if size is None:
        edit.put(path, SHM_SIZE)
        return f"set shm_size: {SHM_SIZE}"
    edit.rewrite(path, r"[^\s'\"](?:[^'\"]*[^\s'\"])?", SHM_SIZE)
    return f"set shm_size: {SHM_SIZE}, not {text_of(size)}"


def bind_ports(edit: Edit, ask: Ask) -> str:
    """Publish on 127.0.0.1 only what is published on all interfaces."""
    path = (*ask.path, "ports")
    written = edit.get(path)
    open_ports = [n for n, each in enumerate(written if isinstance(written, list) else ()) if _is_open(each)]
    done = [_bind((*path, number), written[number], edit) for number in open_ports]
    if not done:
        raise Refused("no port of this file is published on all interfaces")
    return f"publish on 127.0.0.1 only: {', '.join(done)}"


def _is_open(port: Any) -> bool:
    if isinstance(port, dict):
        return not port.get("host_ip") or port["host_ip"] in ("0.0.0.0", "::")
    return _PORT.fullmatch(text_of(port)) is not None


def _bind(path: Path, port: Any, edit: Edit) -> str:
    if isinstance(port, dict):
        if port.get("host_ip"):
            edit.rewrite((*path, "host_ip"), r"0\.0\.0\.0|::", "127.0.0.1")
        else:
            edit.put((*path, "host_ip"), "127.0.0.1", after="published")
        return text_of(port.get("published", port.get("target")))
    text = text_of(port)
    match = _PORT.fullmatch(text)
    rest = match["rest"] if match else text
    # Without a port of the host Docker chooses one.
    address = "127.0.0.1:" if ":" in re.sub(r"\$\{[^}]*\}", "", rest) else "127.0.0.1::"
    edit.rewrite(path, re.escape(text), (address + rest).replace("\\", r"\\"))
    return text


def mend_variable(edit: Edit, ask: Ask) -> str:
    """Rename a variable that no engine reads to the one that takes the same value, else remove it."""
    found = variables(edit, ask)
    if ask.variable not in found:
        raise Refused(f"{ask.variable} is not set in this file")
    if not ask.instead or ask.instead in found:
        remove_variable(edit, ask, ask.variable)
        return f"remove {ask.variable}"
    _rename(edit, ask, ask.variable, ask.instead)
    return f"rename {ask.variable} to {ask.instead}"


def _rename(edit: Edit, ask: Ask, name: str, successor: str) -> None:
    path = (*ask.path, "environment")
    written = edit.get(path)
    if isinstance(written, dict):
        value = written[name]
        edit.put((*path, successor), value, after=name)
        edit.delete((*path, name))
        return
    for number, each in enumerate(written):
        if text_of(each).partition("=")[0] == name:
            edit.rewrite((*path, number), rf"{name}(?==|$|(?=['\"]))", successor)


def set_context(edit: Edit, ask: Ask) -> str:
    """Set Ollama's context to what fits."""
    if ask.context is None:
        raise Refused("which context fits depends on the model: name it with --model")
    path = (*ask.path, "environment")
    written = edit.get(path)
    name, value = "OLLAMA_CONTEXT_LENGTH", str(ask.context)
    if name in variables(edit, ask):
        if isinstance(written, dict):
            edit.rewrite((*path, name), r"\d+", value)
        else:
            number = next(n for n, each in enumerate(written) if text_of(each).startswith(f"{name}="))
            edit.rewrite((*path, number), rf"({name}=)\d+", rf"\g<1>{value}")
    elif isinstance(written, list):
        edit.append(path, f"{name}={value}")
    else:
        edit.put((*path, name), value)
    return f"set {name}={value}"
