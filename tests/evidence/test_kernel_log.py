"""Kernel log lines as people paste them, of every printer and of many drivers."""

# Log lines are kept as they were printed.
# ruff: noqa: E501

import calendar
import datetime
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.evidence.kernel_line import Stamp, split_line
from gpudoctor.evidence.kernel_log import KernelLogReader, read_events
from gpudoctor.evidence.kernel_messages import plain_address
from gpudoctor.facts.kernel_log import KernelEvent


def one(*lines: str) -> KernelEvent:
    events = read_events(lines)
    assert len(events) == 1, events
    return events[0]


def kinds(*lines: str) -> list[str]:
    return [event.kind for event in read_events(lines)]


XID_79 = "NVRM: Xid (PCI:0000:1a:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


@pytest.mark.parametrize(
    ("prefix", "stamp"),
    [
        ("", None),
        ("kernel: ", None),
        ("[ 1843.308145] ", Stamp(1843.308145, False)),
        ("[  12.345] ", Stamp(12.345, False)),
        ("kern  :err   : [   12.345000] ", Stamp(12.345, False)),
        ("4,1021,1843308145,-;", Stamp(1843.308145, False)),
        ("[  +0.000898] ", None),
        ("[2024-05-20T02:46:53Z] ", Stamp(calendar.timegm((2024, 5, 20, 2, 46, 53)), True)),
        ("kern:     err: [2024-05-20T02:46:53.856596762Z]: ", Stamp(1716173213.8565967, True)),
        ("kern  :err   : 2025-01-25T10:34:54,859532+00:00 ", Stamp(1737801294.859532, True)),
        ("2024-05-20T04:46:53+02:00 gpu01 kernel: ", Stamp(1716173213.0, True)),
        ("2024-05-20T04:46:53+0200 gpu01 kernel: ", Stamp(1716173213.0, True)),
        ("1716173213.856596 gpu01 kernel: ", Stamp(1716173213.856596, True)),
        ("[    5.559842] gpu01 kernel: ", Stamp(5.559842, False)),
        ("фев 12 00:48:02 kernel: ", None),
        ("[四 3月 20 21:01:25 2025] ", None),
    ],
)
def test_every_printer(prefix: str, stamp: Stamp | None) -> None:
    seen, text = split_line(prefix + XID_79)
    assert text == XID_79
    assert (seen is None) is (stamp is None)
    if seen is not None and stamp is not None:
        assert seen.wall is stamp.wall
        assert seen.seconds == pytest.approx(stamp.seconds, abs=1e-3)
    event = one(prefix + XID_79)
    assert (event.kind, event.code, event.address) == ("xid", 79, "0000:1a:00")


def test_local_times_are_of_this_zone() -> None:
    local = datetime.datetime(2025, 3, 30, 8, 24, 0).timestamp()
    assert split_line(f"[Sun Mar 30 08:24:00 2025] {XID_79}")[0] == Stamp(local, True)
    december = datetime.datetime(2024, 12, 2, 11, 49, 53).timestamp()
    line = f"Dec  2 11:49:53 worker4 kernel: [  885.242168] {XID_79}"
    assert split_line(line, now=local) == (Stamp(december, True), XID_79)
    assert split_line(line, now=december + 5)[0] == Stamp(december, True)


@pytest.mark.parametrize(
    "line",
    [
        "Feb 14 05:03:41 gpu-1 gpud[811]: NVRM: Xid (PCI:0000:1a:00): 79, GPU has fallen off the bus.",
        "2024-05-20T04:46:53+02:00 gpu01 monitor[12]: NVRM: Xid (PCI:0000:1a:00): 79, seen",
        "1716173213.856596 gpu01 dockerd[9]: Out of memory: Killed process 1 (x) total-vm:1kB",
    ],
)
def test_what_other_programs_say_about_the_kernel_is_not_the_kernel(line: str) -> None:
    assert read_events([line]) == ()


@pytest.mark.parametrize(
    ("line", "address", "code", "process", "pid"),
    [
        ("NVRM: Xid (PCI:0000:44:00): 79, GPU has fallen off the bus.", "0000:44:00", 79, None, None),
        ("NVRM: Xid (PCI:0000:9B:00): 94, pid=1234, name=python3, Contained ECC error", "0000:9b:00", 94, "python3", 1234),
        ("NVRM: Xid (PCI:0000:1a:00 GPU-I:05): 43, pid=77, name=vllm, Ch 1", "0000:1a:00", 43, "vllm", 77),
        ("NVRM: Xid (0000:01:00): 31, Ch 00000003, engmask 00000101, intr 10000000", "0000:01:00", 31, None, None),
        ("NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 00 (0x0)", "0009:01:00", 149, None, None),
        ("NVRM: Xid (PCI:0000:cb:00): 109, pid=1797828, name=pt_main_thread, Ch 00000008, errorString CTX SWITCH TIMEOUT",
         "0000:cb:00", 109, "pt_main_thread", 1797828),
        ("NVRM: Xid (PCI:0000:0d:00): 51, BAD_TSG encountered on runlist: 0 with error code: 4", "0000:0d:00", 51, None, None),
        ("NVRM: GPU 0000:2b:00.0: GPU has fallen off the bus.", "0000:2b:00", 79, None, None),
        ("NVRM: GPU at PCI:0000:01:00: GPU-8f4 has fallen off the bus.", "0000:01:00", 79, None, None),
        ("NVRM: GPU at 0000:01:00.0 has fallen off the bus.", "0000:01:00", 79, None, None),
    ],
)
def test_xid_forms(line: str, address: str, code: int, process: str | None, pid: int | None) -> None:
    event = one(f"[   10.000000] {line}")
    assert (event.address, event.code, event.process, event.pid) == (address, code, process, pid)


FALLEN_IN_LINES = {
    "dmesg": [
        "[ 1843.308145] NVRM: The NVIDIA GPU 0000:b3:00.0",
        "               NVRM: (PCI ID: 10de:26b5) installed in this system has",
        "               NVRM: fallen off the bus and is not responding to commands.",
        "[ 1843.439662] NVRM: The NVIDIA probe routine failed for 1 device(s).",
    ],
    "old dmesg": [
        "[ 1843.308145] NVRM: The NVIDIA GPU 0000:b3:00.0",
        "[ 1843.308145] NVRM: (PCI ID: 10de:26b5) installed in this system has",
        "[ 1843.308145] NVRM: fallen off the bus and is not responding to commands.",
    ],
    "rsyslog": [
        "Oct 25 10:00:00 n1 kernel: [ 1843.308145] NVRM: The NVIDIA GPU 0000:b3:00.0#012NVRM: (PCI ID: 10de:26b5) installed "
        "in this system has#012NVRM: fallen off the bus and is not responding to commands.",
    ],
    "kmsg": [
        "3,99,1843308145,-;NVRM: The NVIDIA GPU 0000:b3:00.0\\x0aNVRM: (PCI ID: 10de:26b5) installed in this system has"
        "\\x0aNVRM: fallen off the bus and is not responding to commands.",
    ],
}


@pytest.mark.parametrize("form", FALLEN_IN_LINES)
def test_fallen_off_the_bus_over_several_lines(form: str) -> None:
    event = one(*FALLEN_IN_LINES[form])
    assert (event.kind, event.code, event.address) == ("fell-off-bus", 79, "0000:b3:00")


def test_number_and_words_of_one_loss_are_one_event() -> None:
    words = "[ 10.100000] NVRM: GPU 0000:01:00.0: GPU has fallen off the bus."
    number = "[ 10.000000] NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."
    for lines in ((number, words), (words, number)):
        event = one(*lines)
        assert (event.kind, event.code, event.count) == ("xid", 79, 1)


@pytest.mark.parametrize(
    ("line", "fatal"),
    [
        ("NVRM: Xid (PCI:0018:01:00): 145, RLW_RXPIPE Nonfatal XC0 i0 Link 13 (0x0409a0c2 0x00000008)", False),
        ("NVRM: Xid (PCI:0000:01:00): 144, SAW_MVB Nonfatal XC0 i0 Link 0 (0x00000001 0x00000008)", False),
        ("NVRM: Xid (PCI:0019:01:00): 149, NETIR Fatal XC0 i0 Link -1 (0x000fe406 0x00000000)", True),
        ("NVRM: Xid (PCI:0000:dc:00): 45, pid=1818990, name=python3, Ch 00000001 caused by previous Xid 149", None),
    ],
)
def test_nvlink5_says_itself_whether_it_is_fatal(line: str, fatal: bool | None) -> None:
    assert one(line).fatal is fatal


def test_a_burst_is_one_event_with_a_count_and_the_last_time() -> None:
    lines = [
        f"[{seconds:5d}.000000] NVRM: Xid (PCI:0000:cb:00): 13, pid='<unknown>', name=<unknown>, Graphics SM Warp Exception"
        for seconds in range(100, 150)
    ]
    (event,) = read_events(lines, uptime=249.0)
    assert (event.count, event.seconds_ago, event.process) == (50, 100.0, None)


def test_codes_gpus_and_severities_are_kept_apart() -> None:
    events = read_events(
        [
            "NVRM: Xid (PCI:0000:1a:00): 13, a",
            "NVRM: Xid (PCI:0000:1a:00): 31, b",
            "NVRM: Xid (PCI:0000:1b:00): 13, c",
            "NVRM: Xid (PCI:0000:1a:00): 145, RLW Nonfatal XC0",
            "NVRM: Xid (PCI:0000:1a:00): 145, RLW Fatal XC0",
        ]
    )
    assert len(events) == 5


def test_switch_errors_count_once_for_three_lines() -> None:
    head = "[   38.1] nvidia-nvswitch3: SXid (PCI:0000:04:00.0): 22013, "
    burst = []
    for link in (43, 44):
        burst += [
            head + "Data {0x0000002b, 0x0000002b, 0x00000000}",
            head + f"Non-fatal, Link {link} Minion Link DLREQ interrupt",
            head + f"Severity 0 Engine instance {link} Sub-engine instance 00",
        ]
    event = one(*burst)
    assert (event.kind, event.code, event.address, event.fatal, event.count) == ("sxid", 22013, "0000:04:00", False, 2)
    only_data = one("nvidia-nvswitch1: SXid (PCI:0000:84:00.0): 12028, Data {0x000001c0, 0x00bd5c8a}")
    assert (only_data.code, only_data.fatal) == (12028, None)
    fatal = one("nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up")
    assert fatal.fatal is True


LOAD = [
    "[  900.000000] nvidia-nvlink: Nvlink Core is being initialized, major device number 234",
    "[  900.500000] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.158.01  Release Build",
]


def test_what_lies_before_a_driver_load_is_told_apart() -> None:
    xid = "[{}.000000] NVRM: Xid (PCI:0000:1a:00): 119, pid=1, name=x, Timeout after 6s of waiting for RPC"
    before, load, after = read_events([xid.format(100), *LOAD, xid.format(950)])
    assert (before.after_driver_load, load.kind, after.after_driver_load) == (False, "driver-loaded", True)
    grepped = read_events([xid.format(100), LOAD[1]])
    assert grepped[0].after_driver_load is False


def test_what_a_load_itself_reports_is_of_that_load() -> None:
    fallen = FALLEN_IN_LINES["dmesg"][:3]
    loading = "[ 1843.439669] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.158.01  Release Build"
    assert [e.after_driver_load for e in read_events([*fallen, loading])] == [True, True]
    core = "[ 1843.100000] nvidia-nvlink: Nvlink Core is being initialized, major device number 234"
    assert [e.after_driver_load for e in read_events([core, *fallen, loading])] == [True, True]


def test_a_reset_frees_its_own_gpu_only() -> None:
    lines = [
        "[ 10.0] NVRM: Xid (PCI:0000:1a:00): 95, pid=1, name=x, Uncontained ECC error",
        "[ 10.1] NVRM: Xid (PCI:0000:1a:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
        "[ 11.0] NVRM: Xid (PCI:0000:1b:00): 95, pid=1, name=x, Uncontained ECC error",
        "[ 90.0] NVRM: Xid (PCI:0000:1a:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)",
    ]
    events = read_events(lines)
    assert [(e.code, e.address, e.after_driver_load) for e in events if e.kind == "xid"] == [
        (95, "0000:1a:00", False),
        (154, "0000:1a:00", False),
        (95, "0000:1b:00", True),
    ]
    assert events[-1].kind == "gpu-reset"


def test_initialisation_failures() -> None:
    event = one(
        "[  903.609564] NVRM: RmInitAdapter: Cannot initialize GSP firmware RM",
        "[  903.610907] NVRM: GPU 0000:98:00.0: RmInitAdapter failed! (0x62:0x65:1792)",
        "[  903.611884] NVRM: GPU 0000:98:00.0: rm_init_adapter failed, device minor number 0",
    )
    assert (event.kind, event.address, event.count) == ("rm-init-failed", "0000:98:00", 1)
    assert "0x62:0x65:1792" in event.text


@pytest.mark.parametrize(
    "lines",
    [
        [
            "[ 7386.259769] NVRM: API mismatch: the client has the version 515.48.07, but",
            "               NVRM: this kernel module has the version 510.73.05.  Please",
            "               NVRM: make sure that this kernel module and all NVIDIA driver",
            "               NVRM: components have the same version.",
        ],
        [
            "[ 8957.099615] NVRM: API mismatch: the client has the version 515.48.07, but",
            "[ 8957.099615] NVRM: this kernel module has the version 510.73.05.  Please",
            "[ 8957.099615] NVRM: make sure that this kernel module and all NVIDIA driver",
            "[ 8957.099615] NVRM: components have the same version.",
        ],
        [
            "Jun 30 11:07:05 gpu-0 kernel: NVRM: API mismatch: the client has the version 515.48.07, but#012NVRM: this kernel "
            "module has the version 510.73.05.  Please#012NVRM: make sure that this kernel module and all NVIDIA driver"
            "#012NVRM: components have the same version."
        ],
        [
            "[    9.424670] NVRM: API mismatch: the client 'kwin_wayland' (pid 1005)",
            "               NVRM: has the version 515.48.07, but this kernel module has",
            "               NVRM: the version 510.73.05.  Please make sure that this",
            "               NVRM: kernel module and all NVIDIA driver components",
            "               NVRM: have the same version.",
        ],
    ],
)
def test_mismatch_is_joined_whole(lines: list[str]) -> None:
    event = one(*lines)
    assert event.kind == "api-mismatch"
    assert "515.48.07" in event.text
    assert "510.73.05" in event.text


@pytest.mark.parametrize(
    ("lines", "address", "words"),
    [
        (
            [
                "kernel: NVRM: The NVIDIA GPU 0000:09:00.0 (PCI ID: 10de:1d01)",
                "             NVRM: installed in this system is not supported by open",
                "             NVRM: nvidia.ko because it does not include the required GPU",
                "             NVRM: System Processor (GSP).",
                "kernel: nvidia 0000:09:00.0: probe with driver nvidia failed with error -1",
            ],
            "0000:09:00",
            "not supported by open nvidia.ko",
        ),
        (
            [
                "[Sun May 17 15:55:50 2026] NVRM: The NVIDIA NVIDIA GeForce GTX 1050 GPU installed in this system is",
                "                           NVRM:  supported through the NVIDIA 580.xx Legacy drivers. Please",
                "                           NVRM:  visit http://www.nvidia.com/object/unix.html for more",
                "                           NVRM:  information.  The 595.71.05 NVIDIA driver will ignore",
                "                           NVRM:  this GPU.  Continuing probe...",
                "[Sun May 17 15:55:50 2026] NVRM: No NVIDIA GPU found.",
            ],
            None,
            "580.xx Legacy",
        ),
        (
            [
                "[    5.559842] NVRM: The NVIDIA GPU 0000:02:00.0 (PCI ID: 10de:2c58)",
                "               NVRM: installed in this system requires use of the NVIDIA open kernel modules.",
            ],
            "0000:02:00",
            "open kernel modules",
        ),
    ],
)
def test_gpus_that_this_driver_does_not_take(lines: list[str], address: str | None, words: str) -> None:
    event = one(*lines)
    assert (event.kind, event.address) == ("gpu-unsupported", address)
    assert words in event.text


def test_refused_modules() -> None:
    assert kinds("[27532.356706] Loading of unsigned module is rejected") == ["module-rejected"]
    assert kinds("kernel: Loading of module with unavailable key is rejected") == ["module-rejected"]
    lockdown = "Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7"
    assert kinds(f"kernel: {lockdown}") == ["module-rejected"]
    tainted = "nvidia: module verification failed: signature and/or required key missing - tainting kernel"
    assert kinds(f"kernel: {tainted}") == []


def test_kills_name_victim_and_cgroup() -> None:
    cgroup = "/system.slice/docker-4f1d.scope"
    event = one(
        "[ 50.0] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0-1,oom_memcg="
        f"{cgroup},task_memcg={cgroup},task=VLLM::EngineCor,pid=7899,uid=0",
        "[ 50.1] Memory cgroup out of memory: Killed process 7899 (VLLM::EngineCor) total-vm:26184840kB, anon-rss:15kB",
        "[ 50.2] oom_reaper: reaped process 7899 (VLLM::EngineCor), now anon-rss:0kB",
    )
    assert (event.kind, event.process, event.pid, event.cgroup) == ("oom-kill", "VLLM::EngineCor", 7899, cgroup)
    assert event.text.startswith("Memory cgroup out of memory")
    assert event.count == 1
    old = one(
        "[ 152.700479] Memory cgroup out of memory: Kill process 4142 (python3) score 68 or sacrifice child",
        "[ 152.701942] Killed process 4254 (python3) total-vm:11968kB, anon-rss:4288kB",
    )
    assert (old.process, old.pid, old.cgroup) == ("python3", 4254, None)


def test_pcie_errors() -> None:
    new = one(
        "pcieport 0000:00:1d.0: AER: Multiple Corrected error received: 0000:03:00.0",
        "pcieport 0000:00:1d.0: AER: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)",
        "pcieport 0000:00:1d.0: AER:   device [8086:a330] error status/mask=00000001/00002000",
        "pcieport 0000:00:1d.0: AER:    [ 0] RxErr                  (First)",
    )
    assert (new.kind, new.address, new.fatal, new.count) == ("pcie-error", "0000:00:1d", None, 1)
    events = read_events(
        [
            "nvidia 0000:03:00.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal), type=Transaction Layer, (Requester ID)",
            "pcieport 0000:00:03.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer, (Requester ID)",
            "nvidia 0000:03:00.0: AER: can't recover (no error_detected callback)",
        ]
    )
    assert [(e.address, e.fatal) for e in events] == [("0000:03:00", False), ("0000:00:03", True), ("0000:03:00", None)]


def test_memory_windows_that_found_no_room() -> None:
    new = "[ 2.831115] pci 0000:01:00.0: BAR 1 [mem size 0x10000000 64bit pref]: can't assign; no space"
    old = "[ 2.831115] pci 0000:01:00.0: BAR 1: no space for [mem size 0x800000000 64bit pref]"
    driver = [
        "[ 9.0] NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:",
        "               NVRM: BAR1 is 0M @ 0x0 (PCI:0000:01:00.0)",
    ]
    for lines in ([new], [old], driver):
        assert (one(*lines).kind, one(*lines).address) == ("bar-unassigned", "0000:01:00")
    assert kinds("[ 4.1] pci 0000:08:00.0: VF BAR 0 [mem size 0x00400000 64bit pref]: can't assign; no space") == []
    assert kinds("[ 1.7] pci 0000:00:15.0: BAR 13: no space for [io  size 0x1000]") == []
    assert kinds("[ 1.7] pci 0000:01:00.0: BAR 5: no space for [io  size 0x0080]") == []
    again = "[ 2.9] pci 0000:01:00.0: BAR 1 [mem 0x380000000000-0x38000fffffff 64bit pref]: assigned"
    assert kinds(new, again) == []


def test_amd() -> None:
    assert kinds(
        "amdgpu 0000:0c:00.0: ring gfx_0.0.0 timeout, signaled seq=5389552, emitted seq=5389554",
        "amdgpu 0000:0c:00.0: amdgpu: GPU reset begin!",
        "amdgpu 0000:0c:00.0: amdgpu: GPU reset succeeded, trying to resume",
    ) == ["amdgpu-error", "amdgpu-error", "gpu-reset"]
    assert one("amdgpu 0000:83:00.0: amdgpu: Fatal error during GPU init").fatal is True
    assert one("amdgpu: probe of 0000:83:00.0 failed with error -12").address == "0000:83:00"
    assert kinds("amdgpu 0000:33:00.0: amdgpu: ring gfx_0.0.0 uses VM inv eng 0 on hub 0") == []


def test_faults_of_the_io_mmu() -> None:
    amd = one("nvidia 0000:07:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0003 address=0x80000040 flags=0x0020]")
    intel = one("DMAR: [DMA Write NO_PASID] Request device [3b:00.0] fault addr 0x7cd80000 [fault reason 0x05]")
    assert [(e.kind, e.address) for e in (amd, intel)] == [("iommu-fault", "0000:07:00"), ("iommu-fault", "0000:3b:00")]


def test_boots_count_back_from_the_last() -> None:
    start = "Nov  1 10:00:00 n kernel: [    0.000000] Linux version 6.8.0-45-generic (buildd@lcy02)"
    lost = "Nov  1 11:00:00 n kernel: [ 3600.000000] NVRM: Xid (PCI:0000:1a:00): 79, GPU has fallen off the bus."
    reader = KernelLogReader()
    for line in (lost, start, lost, start, lost):
        reader.feed(line)
    assert [(e.boot, e.count) for e in reader.events()] == [(-2, 1), (-1, 1), (0, 1)]
    assert (reader.boots, reader.from_boot) == (3, True)
    clock_fell = ["[91169.5] NVRM: Xid (PCI:0000:1a:00): 79, x", "[   12.0] NVRM: Xid (PCI:0000:1a:00): 79, x"]
    assert [e.boot for e in read_events(clock_fell)] == [-1, 0]


def test_a_log_cut_at_its_start_says_so() -> None:
    reader = KernelLogReader()
    reader.feed("[ 9000.0] usb 1-1: new device")
    reader.feed(f"[ 9001.0] {XID_79}")
    assert len(reader.events()) == 1
    assert reader.from_boot is False


def test_ages_without_a_clock_of_ours_count_from_the_newest_line() -> None:
    lines = [f"[  100.000000] {XID_79}", "[ 4000.000000] usb 1-1: new device"]
    assert read_events(lines)[0].seconds_ago == 3900.0
    assert read_events([XID_79])[0].seconds_ago is None


def test_indented_paste() -> None:
    lines = ["    NVRM: Xid (PCI:0000:1a:00): 48, a", "    NVRM: Xid (PCI:0000:1a:00): 63, b", "    usb something"]
    assert [e.code for e in read_events(lines)] == [48, 63]


def test_addresses() -> None:
    assert plain_address("00000000:1A:00.0") == "0000:1a:00"
    assert plain_address("1a:00.0") == "0000:1a:00"
    assert plain_address("10000:e1:00.0") == "10000:e1:00"


def test_memory_stays_bounded() -> None:
    def log() -> Iterator[str]:
        for number in range(4_000):
            yield f"[{number}.0] NVRM: Xid (PCI:{number % 60_000:04x}:1a:00): 13, " + "x" * 500
            yield "y" * 20_000

    tracemalloc.start()
    reader = KernelLogReader()
    for line in log():
        reader.feed(line)
    events = reader.events()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(events) == 2000
    assert reader.dropped == 2_000
    assert peak < 8 * 2**20


FRAGMENTS = ["NVRM: ", "Xid (PCI:0000:1a:00): ", "SXid (PCI:0000:c1:00.0): ", "79", ", ", "Fatal", "Data {0x0}", "BAR 1", " [mem size 1]",
             ": can't assign", "oom-kill:", "task_memcg=/a,task=b,pid=3", "Killed process 3 (b)", "Linux version 6", "amdgpu ", "nvidia ",
             "0000:1a:00.0", ": AER: ", "PCIe Bus Error: severity=", "Loading of module", " is rejected", "#012", "\\x0a", "\n", "[ 1.5] ",
             "Dec  2 11:49:53 h kernel: ", " ", "fallen off the bus", "RmInitAdapter failed!", "API mismatch", "154, to 0x0 (None)",
             "nvidia-nvlink: Nvlink Core is being initialized", "loading NVIDIA UNIX", "GPU reset", "\x00", "é", "GPU resetmodule"]


@given(st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join), max_size=12))
@settings(max_examples=150, deadline=None)
def test_no_mixture_of_lines_breaks_the_reader(lines: list[str]) -> None:
    for event in read_events(lines, now=1.7e9, uptime=5.0):
        assert event.count > 0
        assert len(event.text) <= 300
        assert event.boot <= 0
        assert event.seconds_ago is None or event.seconds_ago >= 0


@pytest.mark.parametrize("piece", ["Loading of module", "oom-kill:task_memcg=", "GPU reset", "probe of ", "Killed process 1 (", "NVRM: is not supported "])
def test_no_line_takes_long(piece: str) -> None:
    line = f"amdgpu {piece * 2000}"
    started = time.process_time()
    read_events([line] * 20)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("junk", ["\x00\x1b[31mNVRM", "NVRM: Xid (PCI:", "[", "[99999999999999999999.9] NVRM: Xid (PCI:0000:1a:00): 13, x",
                                  "9999-99-99T99:99:99Z NVRM: Xid (PCI:0000:1a:00): 13, x", "Feb 30 25:61:61 h kernel: NVRM: Xid",
                                  "2024-01-01T00:00:00+99:99 NVRM: Xid (PCI:0000:1a:00): 13, x", "oom-kill:task_memcg=,task=,pid="])
def test_junk_does_no_harm(junk: str) -> None:
    for event in read_events([junk, junk, ""], now=1.7e9, uptime=5.0):
        assert event.count == 2
