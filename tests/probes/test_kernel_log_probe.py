"""The kernel log probe against files, records of /dev/kmsg and a stand-in journalctl."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.evidence.kernel_log import KernelLogReader
from gpudoctor.facts.kernel_log import KernelEvent
from gpudoctor.probes import command, kernel_log
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

Probe = Callable[..., dict[str, Any]]
BOOT = "[    0.000000] Linux version 6.8.0-45-generic (buildd@lcy02)"
LOST = "NVRM: Xid (PCI:0000:1a:00): 79, pid=1, name=python3, GPU has fallen off the bus."


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Probe:
    """Run the probe on a recorded tree; ``journalctl`` is a shell script, None for none installed."""
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setattr(command, "SYSTEM_PATH", str(tools))
    root = tmp_path / "root"
    root.mkdir()

    def run(files: dict[str, str], journalctl: str | None = None) -> dict[str, Any]:
        for name, text in files.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if journalctl is not None:
            script = tools / "journalctl"
            script.write_text("#!/bin/sh\n" + journalctl)
            script.chmod(0o755)
        read, write = os.pipe()
        kernel_log.probe(Reporter(write), Root(str(root)))
        os.close(write)
        with os.fdopen(read) as pipe:
            said = [json.loads(line) for line in pipe]
        facts: dict[str, Any] = {}
        for line in said:
            facts |= line.get("set", {})
            if "unavailable" in line:
                facts |= {"unavailable": line["unavailable"], "kind": line["kind"]}
        return facts

    return run


def test_a_file_of_two_boots(probe: Probe) -> None:
    stamp = time.strftime("%b %e %H:%M:%S", time.localtime(time.time() - 60))
    lines = [f"{stamp} n1 kernel: {text}" for text in (BOOT, f"[ 5.0] {LOST}", BOOT, f"[ 6.0] {LOST}")]
    facts = probe({"/var/log/kern.log": "\n".join(lines) + "\n"})
    assert (facts["source"], facts["from_boot"], facts["boots"]) == ("/var/log/kern.log", True, 2)
    assert [(e["kind"], e.get("boot", 0)) for e in facts["events"]] == [("xid", -1), ("xid", 0)]
    assert 55 <= facts["events"][1]["seconds_ago"] <= 70


def test_the_rotated_file_comes_first(probe: Probe) -> None:
    facts = probe({"/var/log/messages-20260101": f"{BOOT}\n", "/var/log/messages": f"[ 6.0] {LOST}\n"})
    assert (facts["from_boot"], len(facts["events"])) == (True, 1)


def test_the_file_of_the_boot_ends_with_the_boot(probe: Probe) -> None:
    facts = probe({"/var/log/dmesg": f"{BOOT}\n[ 1.0] {LOST}\n"})
    assert (facts["source"], facts["from_boot"]) == ("/var/log/dmesg", False)


def test_nothing_to_read(probe: Probe) -> None:
    facts = probe({})
    assert facts["kind"] == "error"


def test_no_right_to_read_names_the_narrow_right(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(kernel_log, "_feed_file", refuse)
    facts = probe({"/var/log/kern.log": "x"})
    assert facts["kind"] == "no-permission"
    assert "adm" in facts["unavailable"]


JOURNAL = {"/var/log/journal/x/system.journal": "not really"}
REFUSED = """
echo "Hint: You are currently not seeing messages from other users and the system." >&2
echo "      Users in groups 'adm', 'systemd-journal' can see all messages." >&2
echo "No journal files were opened due to insufficient permissions." >&2
exit 1
"""


def test_a_journal_that_refuses(probe: Probe) -> None:
    facts = probe(JOURNAL, REFUSED)
    assert facts["kind"] == "no-permission"
    assert "systemd-journal" in facts["unavailable"]


def test_a_refusing_journal_does_not_hide_a_readable_file(probe: Probe) -> None:
    facts = probe({**JOURNAL, "/var/log/kern.log": f"[ 1.0] {LOST}\n"}, REFUSED)
    assert facts["source"] == "/var/log/kern.log"


def journal(now: float, grep: str) -> str:
    said = (("bb", LOST), ("aa", list(LOST.encode() + b"\xff")), ("bb", "usb 1-1: noise"), ("cc", LOST))
    entries = [
        {"_BOOT_ID": boot, "__REALTIME_TIMESTAMP": str(int((now - 9000) * 1e6)), "MESSAGE": message}
        for boot, message in said
    ]
    printed = "\n".join(json.dumps(entry) for entry in entries)
    return f"""
case "$*" in
*--dmesg*) cat <<'END'
{now - 100:.6f} gpu01 kernel: {BOOT.partition("] ")[2]}
{now - 50:.6f} gpu01 kernel: NVRM: The NVIDIA GPU 0000:b3:00.0
                              NVRM: (PCI ID: 10de:26b5) installed in this system has
                              NVRM: fallen off the bus and is not responding to commands.
END
;;
*--list-boots*) printf -- '-2 aa Fri\\n-1 bb Fri\\n 0 cc Fri\\n' ;;
*--grep*) {grep} ;;
*) cat <<'END'
{printed}
END
esac
"""


def test_the_journal_and_earlier_boots(probe: Probe) -> None:
    facts = probe(JOURNAL, journal(time.time(), "echo 'Compiled without pattern matching support' >&2; exit 1"))
    assert (facts["source"], facts["from_boot"], facts["boots"]) == ("journal", True, 3)
    events = [(e["kind"], e["address"], e.get("boot", 0)) for e in facts["events"]]
    assert events == [("fell-off-bus", "0000:b3:00", 0), ("xid", "0000:1a:00", -2), ("xid", "0000:1a:00", -1)]


def test_a_journal_that_hangs_costs_its_time_only(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "_JOURNAL_SECONDS", 0.3)
    started = time.monotonic()
    facts = probe({**JOURNAL, "/var/log/kern.log": f"[ 1.0] {LOST}\n"}, "exec sleep 30")
    assert time.monotonic() - started < 5
    assert facts["source"] == "/var/log/kern.log"


def test_a_journal_that_was_cut_lacks_its_newest_lines(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "_JOURNAL_SECONDS", 0.3)
    slow = f"echo '1716173213.856596 gpu01 kernel: {BOOT.partition('] ')[2]}'; exec sleep 30"
    facts = probe(JOURNAL, slow)
    assert (facts["source"], facts["from_boot"]) == ("journal", False)
    facts = probe({"/var/log/kern.log": f"[ 1.0] {LOST}\n"}, slow)
    assert facts["source"] == "/var/log/kern.log"


def test_records_of_kmsg() -> None:
    reader = KernelLogReader(uptime=100.0)
    lost = f"4,17,40000000,-;{LOST}\n SUBSYSTEM=pci\n DEVICE=+pci:0000:1a:00.0\n".encode()
    records = [b"5,0,0,-;Linux version 6.8\n", lost]
    numbers = [kernel_log._take_record(reader, record) for record in records]
    assert numbers == [0, 17]
    # Facility 1: written by a program through /dev/kmsg, not by the kernel.
    kernel_log._take_record(reader, f"12,18,41000000,-;{LOST}\n".encode())
    assert kernel_log._take_record(reader, b"garbage") is None
    (event,) = reader.events()
    assert isinstance(event, KernelEvent)
    assert (event.code, event.count, event.seconds_ago) == (79, 1, 60.0)
