"""Opens a container's device cgroup for NVIDIA's nodes, as libnvidia-container does: v1 by its file, v2 by bpf(2)."""

import ctypes
import os
import platform
import struct
from pathlib import Path

BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_DETACH, BPF_PROG_GET_FD_BY_ID, BPF_PROG_QUERY = 5, 8, 9, 13, 16
CGROUP_DEVICE_TYPE, CGROUP_DEVICE, ALLOW_MULTI = 15, 6, 2
BPF_CALL = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 321)
#: r0 = 1; exit: a program that allows everything. The genuine one adds rules to the program that was there.
ALLOW_ALL = struct.pack("<BBhi", 0xB7, 0, 0, 1) + struct.pack("<BBhi", 0x95, 0, 0, 0)


def bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(attributes, max(len(attributes), 128))
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(BPF_CALL, command, buffer, ctypes.c_uint(len(buffer)))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}: {os.strerror(ctypes.get_errno())}")
    return result, buffer.raw


def programs(cgroup: int) -> list[int]:
    """Return the ids of the device programs attached to a cgroup."""
    ids = (ctypes.c_uint32 * 64)()
    query = struct.pack("<IIIIQI", cgroup, CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), 64)
    _, answer = bpf(BPF_PROG_QUERY, query)
    return list(ids[: struct.unpack_from("<I", answer, 24)[0]])


def allow_v2(folder: Path) -> None:
    cgroup = os.open(folder, os.O_RDONLY)
    before = programs(cgroup)
    code, licence = ctypes.create_string_buffer(ALLOW_ALL, len(ALLOW_ALL)), ctypes.create_string_buffer(b"GPL")
    program, _ = bpf(
        BPF_PROG_LOAD,
        struct.pack("<IIQQ", CGROUP_DEVICE_TYPE, 2, ctypes.addressof(code), ctypes.addressof(licence)),
    )
    bpf(BPF_PROG_ATTACH, struct.pack("<IIII", cgroup, program, CGROUP_DEVICE, ALLOW_MULTI))
    for known in before:
        old, _ = bpf(BPF_PROG_GET_FD_BY_ID, struct.pack("<I", known))
        bpf(BPF_PROG_DETACH, struct.pack("<III", cgroup, old, CGROUP_DEVICE))


def allow(pid: int, minors: list[int]) -> None:
    """Let the cgroup of this process open character devices 195:MINOR."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        v1 = Path("/sys/fs/cgroup/devices" + path)
        if "devices" in controllers.split(",") and v1.exists():
            for minor in minors:
                (v1 / "devices.allow").write_text(f"c 195:{minor} rw")
            return
    path = next(line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    allow_v2(Path("/sys/fs/cgroup" + path))
