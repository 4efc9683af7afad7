"""What runs inside a container beside gpudoctor's own program, and the reading of what all of them wrote.

Where that program is not, or the image has no glibc for it (``live_program``), a shell looks at the device files and
starts Python where the image has one. Without, the shell asks nvidia-smi, which the toolkit brings along; without a
shell, nvidia-smi is started by itself. What was not tried stays None.
"""

import contextlib
import errno
import re
from pathlib import Path
from typing import Any

import msgspec

from gpudoctor.facts.live import LiveNode, Seen

MAX_OUTPUT_BYTES = 1 << 20
_MAX_LINE = 65_536
PROGRAM_VARIABLE = "GPUDOCTOR_PROBE"

#: Opening for reading and writing is what the driver's libraries do; it is the device cgroup that is asked.
SHELL = r"""
LC_ALL=C; export LC_ALL
[ "$1" = look ] || unset CUDA_VISIBLE_DEVICES
for node in /dev/nvidiactl /dev/nvidia[0-9]* /dev/nvidia-uvm /dev/dxg; do
    [ -e "$node" ] || continue
    said=$( (: <>"$node") 2>&1) && said=opened
    echo "gpudoctor-node $node $said"
done
for library in /usr/lib/*/libnvidia-ml.so.1 /usr/lib64/libnvidia-ml.so.1 /usr/lib/libnvidia-ml.so.1 \
    /usr/local/nvidia/lib*/libnvidia-ml.so.1 /usr/lib/wsl/lib/libnvidia-ml.so.1; do
    [ -e "$library" ] && echo "gpudoctor-library $library"
done
echo "gpudoctor-inside shell"
for python in python3 python; do
    command -v $python >/dev/null 2>&1 || continue
    $python -I -S -c "$GPUDOCTOR_PROBE" "$1" 2>&1
    code=$?
    echo
    echo "gpudoctor-python $code"
    [ $code -ne 0 ] || exit 0
done
if command -v nvidia-smi >/dev/null 2>&1; then
    said=$(nvidia-smi -L 2>&1)
    code=$?
    echo "$said"
    echo "gpudoctor-smi $code"
fi
exit 0
"""

_ERRORS = {
    "Operation not permitted": "EPERM",
    "Permission denied": "EACCES",
    "No such device or address": "ENXIO",
    "No such device": "ENODEV",
    "No such file or directory": "ENOENT",
    "nonexistent": "ENOENT",
    "Input/output error": "EIO",
    "Device or resource busy": "EBUSY",
    "Too many open files": "EMFILE",
}
_EXITS = {"gpudoctor-program": "program_exit", "gpudoctor-python": "python_exit", "gpudoctor-smi": "smi_exit"}
_LISTED = re.compile(r"^GPU (\d+): .*\(UUID: ([A-Za-z0-9-]{4,80})\)\s*$")


def shell_command(mode: str) -> list[str]:
    """Return the command for ``try`` (allocates on the GPUs) or ``look``."""
    return ["/bin/sh", "-c", SHELL, "sh", mode]


def program() -> str:
    """Return the text of the Python part."""
    return Path(__file__).with_name("live_inside.py").read_text(encoding="utf-8")


def read(output: bytes) -> Seen:
    """Make facts of what the shell and its programs wrote; lines that are not ours are ignored."""
    nodes: dict[str, LiveNode] = {}
    facts: dict[str, Any] = {}
    libraries: dict[str, None] = {}
    others: list[str] = []
    for line in output[:MAX_OUTPUT_BYTES].decode("utf-8", "replace").splitlines():
        word, _, rest = line[:_MAX_LINE].partition(" ")
        if word == "gpudoctor-node":
            # The program and, after it, the shell may both have looked.
            node = _node(rest)
            nodes.setdefault(node.name, node)
        elif word == "gpudoctor-library":
            libraries[rest[:300]] = None
        elif word == "gpudoctor-inside":
            facts["inside"] = "program" if rest == "program" else "shell"
        elif word == "gpudoctor-no-glibc":
            facts["other_c_library"] = "musl" if rest == "musl" else "none"
        elif word == "gpudoctor-facts":
            facts.update(_facts(rest))
        elif word in _EXITS and rest.isdecimal():
            code = int(rest[:6])
            if word == "gpudoctor-smi":
                facts.update(_smi(others, code))
            else:
                facts[_EXITS[word]] = code
                if word == "gpudoctor-python" and code == 0:
                    facts["inside"] = "python"
            others.clear()
        elif line.strip():
            others.append(line[:300])
    found: dict[str, Any] = {"nodes": tuple(nodes.values())[:1024], "libraries": tuple(libraries)[:64]}
    with contextlib.suppress(msgspec.ValidationError):
        return msgspec.convert({**facts, **found}, Seen)
    # Something inside wrote lines like ours with other contents: believe none of them.
    return Seen(inside=facts.get("inside", "shell"), **found)


def read_smi(code: int | None, output: bytes) -> Seen:
    """Read ``nvidia-smi -L`` that was started by itself."""
    lines = output[:MAX_OUTPUT_BYTES].decode("utf-8", "replace").splitlines()
    facts = _smi(lines, 127 if code is None else code)
    return Seen(inside="nvidia-smi", **facts) if facts else Seen()


def _smi(lines: list[str], code: int) -> dict[str, Any]:
    uuids = [match[2] for line in lines if (match := _LISTED.match(line))]
    said = [line for line in lines if line.strip()]
    if code in (126, 127) or (said and said[0].startswith("exec ")):
        return {}  # It is not there, or the image lacks the C library it needs: nothing was asked.
    return {"smi_exit": code, "smi_line": said[0] if said else None, **({"uuids": uuids} if uuids else {})}


def _node(rest: str) -> LiveNode:
    name, _, said = rest.partition(" ")
    if said == "opened":
        return LiveNode(name=name[:100])
    word, _, number = said.partition(" ")
    if word == "errno" and number.isdecimal():
        return LiveNode(name=name[:100], error=errno.errorcode.get(int(number[:6]), said[:20]))
    found = next((code for text, code in _ERRORS.items() if text in said), None)
    return LiveNode(name=name[:100], error=found or said[-100:] or "unknown error")


def _facts(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    known = set(Seen.__struct_fields__) - {"inside", "nodes", "libraries"}
    return {key: value for key, value in found.items() if key in known} if isinstance(found, dict) else {}
