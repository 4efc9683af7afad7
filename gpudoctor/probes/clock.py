"""The kernel's own word on its clock (adjtimex, read only), and the time zone."""

import ctypes
import errno
import os

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Clock
from gpudoctor.probes.root import Root

_STA_UNSYNC = 0x40
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class _Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2). ``modes`` 0 changes nothing."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("constant", ctypes.c_long),
        ("precision", ctypes.c_long), ("tolerance", ctypes.c_long), ("time", ctypes.c_long * 2),
        ("tick", ctypes.c_long), ("ppsfreq", ctypes.c_long), ("jitter", ctypes.c_long), ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long), ("jitcnt", ctypes.c_long), ("calcnt", ctypes.c_long), ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long), ("tai", ctypes.c_int), ("padding", ctypes.c_int * 11),
    )


def same_kernel(root: Root) -> bool:
    """True if the prefix shows this very kernel: the live root, or the host mounted into a container."""
    if root.live:
        return True
    try:
        here, there = Root().read(_BOOT_ID), root.read(_BOOT_ID)
    except PermissionError:
        return False
    return here is not None and here == there


def read_clock(root: Root) -> Clock:
    """Ask the kernel whether its clock is disciplined, and by how much it may be off."""
    zone = time_zone(root)
    if not same_kernel(root):
        gap = Unavailable("the files are another machine's; its kernel cannot be asked", "not-applicable")
        return Clock(synchronized=gap, estimated_error_seconds=gap, time_zone=zone)
    try:
        call = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        gap = Unavailable("the C library has no adjtimex", "not-supported")
        return Clock(synchronized=gap, estimated_error_seconds=gap, time_zone=zone)
    timex = _Timex()
    if call(ctypes.byref(timex)) < 0:
        number = ctypes.get_errno()
        gap = Unavailable(
            f"adjtimex: {os.strerror(number)}",
            "no-permission" if number in (errno.EPERM, errno.EACCES) else "not-supported",
        )
        return Clock(synchronized=gap, estimated_error_seconds=gap, time_zone=zone)
    synchronized = not timex.status & _STA_UNSYNC
    return Clock(
        synchronized=synchronized,
        estimated_error_seconds=timex.esterror / 1e6
        if synchronized
        else Unavailable("the clock is not synchronised", "not-applicable"),
        time_zone=zone,
    )


def time_zone(root: Root) -> str | Unavailable:
    """Return the zone's name: ``TZ`` of this user, else the link /etc/localtime, else /etc/timezone."""
    if root.live and (named := os.environ.get("TZ", "").lstrip(":")):
        return named[:100]
    link = root.readlink("/etc/localtime")
    if link is not None and "zoneinfo/" in link:
        return link.partition("zoneinfo/")[2][:100]
    try:
        text = root.read("/etc/timezone", 200)
    except PermissionError:
        text = None
    if text and text.strip():
        return text.strip().splitlines()[0][:100]
    if root.exists("/etc/localtime"):
        return Unavailable("/etc/localtime is a copy and carries no name", "not-supported")
    return "UTC"
