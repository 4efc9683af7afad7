"""Does what nvidia-container-runtime-hook does, with the stand-in libraries. Run by runc as a prestart hook.

Its folder holds ``double.json`` and switches, which are files that a test makes: ``hook-fails`` (the text to fail
with), ``skip-device-cgroup`` (of the runtime only: the field failure in which every open of a node is refused).
"""

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(sys.argv[0]).parent
SCRIPT = """set -e
root=$1; shift
for pair in $MOUNTS; do
    mkdir -p "$root$(dirname "${pair#*=}")"
    [ -e "$root${pair#*=}" ] || : >"$root${pair#*=}"
    mount --bind "${pair%%=*}" "$root${pair#*=}"
done
for node in $NODES; do
    [ -e "$root/dev/${node%%:*}" ] || mknod -m 666 "$root/dev/${node%%:*}" c 195 "${node#*:}"
done
"""


def fail(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.exit(1)


def chosen(asked: str, uuids: list[str]) -> list[int]:
    """Return the minor numbers that NVIDIA_VISIBLE_DEVICES names."""
    if asked == "all":
        return list(range(len(uuids)))
    minors = []
    for name in asked.split(","):
        if name.isdecimal() and int(name) < len(uuids):
            minors.append(int(name))
        elif name in uuids:
            minors.append(uuids.index(name))
        else:
            fail(f"nvidia-container-cli: device error: {name}: unknown device")
    return minors


def main() -> None:
    state = json.loads(sys.stdin.read())
    config = json.loads(Path(state["bundle"], "config.json").read_text())
    told = json.loads((FOLDER / "double.json").read_text())
    switch = FOLDER / "hook-fails"
    if switch.exists():
        fail(switch.read_text().strip())
    variables = dict(entry.partition("=")[::2] for entry in config["process"]["env"])
    asked = variables.get("NVIDIA_VISIBLE_DEVICES", "")
    if asked in ("", "void"):
        return
    minors = [] if asked == "none" else chosen(asked, told["uuids"])
    nodes = ["nvidiactl:255", *(f"nvidia{minor}:{minor}" for minor in minors)]
    root = Path(config["root"]["path"])
    root = root if root.is_absolute() else Path(state["bundle"]) / root
    done = subprocess.run(
        ["/usr/bin/nsenter", "-t", str(state["pid"]), "-m", "-r", "/bin/sh", "-c", SCRIPT, "sh", str(root)],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "MOUNTS": " ".join(f"{source}={target}" for source, target in told["mounts"].items()),
            "NODES": " ".join(nodes),
        },
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        fail(f"the hook double could not prepare the container: {done.stderr.strip()}")
    if "--from-runtime" in sys.argv and (FOLDER / "skip-device-cgroup").exists():
        return
    sys.path.insert(0, told["here"])
    from device_cgroup import allow

    allow(state["pid"], [int(node.partition(":")[2]) for node in nodes])


if __name__ == "__main__":
    main()
