"""The kernel's words from several places of one paste, of which some repeat each other."""

import msgspec

from gpudoctor.evidence.bug_report import Section
from gpudoctor.evidence.kernel_log import KernelLogReader
from gpudoctor.facts.kernel_log import KernelEvent, KernelLog

_MAX_PLACES = 64
_MAX_EVENTS = 2000


class KernelLogs:
    """Readers, one for each section of a report, and one for everything else that was pasted."""

    def __init__(self) -> None:
        self._readers: dict[Section, KernelLogReader] = {}
        self._files: dict[Section, str] = {}

    def reader(self, section: Section, file: str) -> KernelLogReader:
        """Return the reader for lines of this section."""
        if section not in self._readers and len(self._readers) >= _MAX_PLACES:
            section = Section()
        self._files.setdefault(section, file)
        return self._readers.setdefault(section, KernelLogReader())

    def log(self) -> KernelLog | None:
        """Join what the readers found; None when no kernel said anything of interest."""
        told = {section: reader.events() for section, reader in self._readers.items()}
        if any(section.boot is not None for section in told):
            # The files of the system's log hold the same lines again, of boots that nobody can tell apart.
            told = {section: events for section, events in told.items() if not section.searched}
        found: dict[tuple[object, ...], KernelEvent] = {}
        for section, events in told.items():
            for each in events:
                event = each if not section.boot else _of_boot(each, section.boot)
                key = (*_key(event), "" if section.boot is not None else section.name)
                known = found.get(key)
                found[key] = event if known is None or known.count < event.count else known
        if not found:
            return None
        source = next(self._files[section] for section, events in told.items() if events)
        boots = max((reader.boots for reader in self._readers.values()), default=1)
        oldest = min((event.boot for event in found.values()), default=0)
        kept = tuple(found.values())[:_MAX_EVENTS]
        return KernelLog(source=source, from_boot=False, boots=max(boots, 1 - oldest), events=kept)


def _of_boot(event: KernelEvent, boot: int) -> KernelEvent:
    return msgspec.structs.replace(event, boot=boot, seconds_ago=None)


def _key(event: KernelEvent) -> tuple[object, ...]:
    """What makes two lines the same message, though journal and dmesg print it differently."""
    return (event.kind, event.boot, event.address, event.code, event.fatal, event.process, event.pid, event.cgroup,
            event.text if event.code is None else "")
