"""``nvidia-bug-report.log``: one file of many sections, told apart by the ruler and the head that stand before each.

Sample input:

    ____________________________________________

    *** /proc/driver/nvidia/version
    *** ls: -r--r--r-- 1 root root 0 2026-11-19 07:02:11.000000000 +0100 /proc/driver/nvidia/version
    NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build

    ____________________________________________

    /usr/bin/nvidia-smi --query

Most sections say nothing about the trouble of now: installations of long ago, earlier boots, megabytes of dumps.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.evidence.source import Chunk

_RULE = b"_" * 44
#: A ruler, or a head inside a section: the logs that were searched, and nvidia-smi's other questions.
_CUT = re.compile(rb"^(?:_{44}|  (?:journalctl -b -\d|/\S{1,80}):|/\S{1,80}/nvidia-smi .{1,80})$", re.MULTILINE)
#: So many sections are told apart; a report of a large server has a thousand.
_MAX_SECTIONS = 8192
_NAME_CHARS = 80
_FOLDERS = re.compile(r"/(?:\w+/)*s?bin/(?=\S)")
_BOOT = re.compile(r"journalctl -b -(\d)(?: -k| --dmesg| --no-pager)*")
_DUMPS = ("base64", "nvidia-debugdump", "acpidump", "nvidia-settings", "vulkaninfo", "xset", "xrandr", "dmidecode")
_FACTS = re.compile(
    r"Start of NVIDIA bug report|nvidia-smi|lspci|/etc/os-release|/proc/(?:meminfo|driver/nvidia/(?:\./)?version)|uname"
)
_HEX_ROW = re.compile(r"[0-9a-f]{2,3}: [0-9a-f]{2}(?: |$)")


class Section(NamedTuple):
    """Where a piece of text stands in a report. ``name`` is empty outside of any section."""

    name: str = ""

    @property
    def place(self) -> str:
        """What to add to the file's name."""
        return f" ({self.name})" if self.name else ""

    @property
    def dump(self) -> bool:
        """True for what no person reads: encoded files, all settings of a desktop."""
        return self.name.startswith(_DUMPS)

    @property
    def past(self) -> bool:
        """True for what tells of other times: an installation, an earlier boot, the log before."""
        earlier = self.name.startswith("journalctl -b -") and not self.name.startswith("journalctl -b -0")
        return earlier or self.installation or self.name.endswith(".old")

    @property
    def installation(self) -> bool:
        """True for what the installer and the compiler of the module said, some day."""
        return self.name.endswith(("nvidia-installer.log", "nvidia-uninstall.log", "make.log"))

    @property
    def facts(self) -> bool:
        """True for sections whose lines state facts of GPUs, driver and machine."""
        return not self.name or _FACTS.match(self.name) is not None

    @property
    def boot(self) -> int | None:
        """Whose kernel's words these are: 0 for this boot, -1 for the last; None for no kernel's."""
        if re.match(r"dmesg\b", self.name):
            return 0
        found = _BOOT.fullmatch(self.name)
        return -int(found[1]) if found is not None else None

    @property
    def kernel(self) -> bool:
        """True for lines of kernels, of whatever boots."""
        return not self.name or self.boot is not None or self.searched

    @property
    def searched(self) -> bool:
        """True for a file of the system's log, which holds many boots and repeats what the journal has."""
        return self.name.startswith("/") and self.name.endswith(
            ("/messages", "/kern.log", "/kernel.log", "/dmesg")
        )

    def tells(self, line: str) -> bool:
        """False for a row of a hex dump among facts."""
        return _HEX_ROW.match(line) is None


class Sections:
    """Cuts the chunks of one file at its rulers. A file without them is one piece without a name."""

    def __init__(self) -> None:
        self.found = 0
        self._now = Section()
        self._headless = False

    def parts(self, chunk: Chunk) -> Iterator[tuple[Section, Chunk]]:
        """Yield the pieces of a chunk in their order, each in one section."""
        data, start, line = chunk.data, 0, chunk.line
        if self.found == 0 and _RULE not in data:
            yield self._now, chunk
            return
        if self._headless:
            self._name(data, 0)
        for cut in _CUT.finditer(data):
            if not (text := cut[0]).startswith(b"_") and not self._parted(text):
                continue
            if self.found >= _MAX_SECTIONS:
                break
            if cut.start() > start:
                yield self._now, Chunk(data[start : cut.start()], line)
                line += data.count(b"\n", start, cut.start())
                start = cut.start()
            self.found += 1
            if text.startswith(b"_"):
                self._now = Section()
                self._name(data, cut.end() + 1)
            else:
                self._now = Section(_head(text))
        if start < len(data):
            yield self._now, Chunk(data[start:], line)

    def _parted(self, text: bytes) -> bool:
        """Tell whether a line is a head inside the present section and no part of its text."""
        if text.startswith(b"  "):
            return self._now.name.startswith("Scanning kernel log") or self._now.boot is not None or self._now.searched
        return self._now.name.startswith("nvidia-smi")

    def _name(self, data: bytes, place: int) -> None:
        """Name the section by its first line that says anything; it may stand in the next chunk."""
        found = re.compile(rb"[ \t\n]*([^\n]+)\n").match(data, place)
        self._headless = found is None and not data[place:].strip()
        if found is not None and found[1] != _RULE:
            self._now = Section(_head(found[1]))


def _head(line: bytes) -> str:
    text = line.decode("utf-8", "replace").strip().removeprefix("*** ").rstrip(":")
    return _FOLDERS.sub("", text[:_NAME_CHARS], count=1) if text.startswith("/") else text[:_NAME_CHARS]
