"""Finding NVIDIA's libraries where the loader alone does not, and the file that was really loaded."""

import contextlib
import ctypes

#: NixOS and WSL keep the driver's libraries where a program's own loader may not look.
FOLDERS = ("/run/opengl-driver/lib", "/usr/lib/wsl/lib")


def preload(name: str) -> ctypes.CDLL | None:
    """Load a library by its soname, as the loader finds it or from the folders above; None when it is nowhere.

    Whoever asks the loader for the same soname later gets this copy.
    """
    for place in (name, *(f"{folder}/{name}" for folder in FOLDERS)):
        with contextlib.suppress(OSError):
            return ctypes.CDLL(place)
    return None


_CAPABILITY_VERSION_3 = 0x20080522
_CAP_MKNOD = 27


def give_up_device_nodes() -> bool:
    """Give up this process's right to make device nodes (capset(2)); False where it could not be given up.

    Run as root, NVIDIA's library makes ``/dev/nvidiactl`` on a machine without a driver. That node would stay,
    and later look like a driver's.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of capabilities 0-31, then of 32-63
    if libc.capget(header, sets) != 0:
        return False
    sets[0] &= ~(1 << _CAP_MKNOD)
    return bool(libc.capset(header, sets) == 0)


def loaded_path(stem: str) -> str | None:
    """Return the real path of a library of this process, by the beginning of its file name."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            return library_in_maps(maps.read(), stem)
    except OSError:
        return None


def library_in_maps(text: str, stem: str) -> str | None:
    """Find ``/…/libnvidia-ml.so.535.247.01`` in the text of /proc/PID/maps."""
    for line in text.splitlines():
        _, slash, path = line.partition("/")
        path = slash + path.removesuffix(" (deleted)")
        if path.rpartition("/")[2].startswith(stem):
            return path
    return None
