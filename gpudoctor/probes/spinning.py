"""Whether a disk has a moving head, so that two readers at once are slower than one."""

import os

#: Virtual disks say so of themselves whatever they stand on.
_VIRTUAL = ("QEMU", "VMware", "Msft", "VBOX", "Virtual", "Google", "Amazon")


def spinning(device: int) -> bool:
    """Ask the kernel about a device number (``st_dev``); False when it says nothing, or the disk is a virtual one."""
    here = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    disk = here if os.path.isdir(f"{here}/queue") else f"{here}/.."
    name = os.path.basename(os.path.realpath(disk))
    return (
        name.startswith("sd")
        and _text(f"{disk}/queue/rotational") == "1"
        and not _text(f"{disk}/device/vendor").startswith(_VIRTUAL)
    )


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(200).strip()
    except OSError:
        return ""
