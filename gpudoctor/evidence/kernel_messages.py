"""What one whole message of the kernel means, as events of GPUs, drivers and memory."""

import re

from gpudoctor.evidence.kernel_groups import TEXT_CHARS, Groups, Key
from gpudoctor.evidence.kernel_line import Stamp

_ADDRESS = r"((?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2})(?:\.[0-7])?\b"
_ANY_ADDRESS = re.compile(r"\b" + _ADDRESS)
_XID = re.compile(r"\bXid \((?:PCI:)?" + _ADDRESS + r"[^)]*\):\s*(\d{1,5})\b,?\s*(.*)", re.DOTALL)
_SXID = re.compile(r"\bSXid \((?:PCI:)?" + _ADDRESS + r"[^)]*\):\s*(\d{1,6})\b,?\s*(.*)", re.DOTALL)
_SEVERITY = re.compile(r"\b(non-?)?fatal\b", re.IGNORECASE)
_PID = re.compile(r"\bpid=['\"]?(\d+)")
_NAME = re.compile(r"\bname=([^,\s<>'\"][^,]{0,63})")
_FELL_OFF = re.compile(r"fallen\s+(?:NVRM:\s+)?off\s+(?:NVRM:\s+)?(?:of\s+)?the\s+bus")
_RM_INIT = re.compile(r"RmInitAdapter failed|rm_init_adapter\S*\s+failed")
_LOADING = re.compile(r"NVRM: loading NVIDIA UNIX")
_LOAD_BEGINS = re.compile(r"nvidia-nvlink: Nvlink Core is being initialized")
_RECOVERED = re.compile(r"to 0x0 \(None\)")
_RESET_DONE = re.compile(r"\b(?:nvidia|vfio-pci) " + _ADDRESS + r": reset done|GPU reset(?:\(\d+\))? succeeded")
_REJECTED = re.compile(r"Loading of .{0,60}?module.{0,40}? is rejected|unsigned module loading is restricted")
_UNSUPPORTED = re.compile(
    r"is\s+not\s+supported\s+by\s|supported\s+through\s+the\s+NVIDIA|requires\s+use\s+of\s+the\s+NVIDIA\s+open"
)
_KILLED = re.compile(r"Killed process (\d+)[, ]+\(([^)]*(?:\)[^),]*)?)\)")
_OOM_LINE = re.compile(r"\btask_memcg=([^,]*),task=(.{0,64}?),pid=(\d+)")
_AER = re.compile(r"\b" + _ADDRESS + r": (?:AER: )?PCIe Bus Error: severity=([^,]+)")
_NO_RECOVERY = re.compile(r"\bnvidia " + _ADDRESS + r": AER: can't recover")
_BAR = re.compile(r"(?<!VF )\bBAR ?([0-5])\b")
_BAR_FAILED = re.compile(r"can't assign|failed to assign|no space for")
_AMD = re.compile(
    r"ring \S{1,40} timeout|GPU reset begin|GPU reset(?:\(\d+\))? (?:end with ret = -|failed)"
    r"|Fatal error during GPU init"
    r"|uncorrectable (?:hardware )?errors? detected|GPU is lost|lost from (?:the )?bus"
    r"|probe (?:of .{1,40}?|with driver amdgpu )failed"
)
_AMD_FATAL = re.compile(r"Fatal error|uncorrectable|lost|probe|GPU reset\S{0,8} (?:end|failed)")
_IOMMU = re.compile(
    r"\bnvidia " + _ADDRESS + r": AMD-Vi: Event logged \[IO_PAGE_FAULT|DMAR: \[DMA[^\]]*\] Request device"
)


class KernelMessages:
    """Understands one message after another, and gathers their events."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._load_begun = False
        self._kill: tuple[int, str] | None = None

    def next_boot(self) -> None:
        """Say that what follows is of the next boot."""
        self._groups.next_boot()
        self._load_begun = False

    def take(self, text: str, stamp: Stamp | None) -> None:
        """Make an event of one whole message, if it is of any interest."""
        if _LOAD_BEGINS.search(text):
            self._groups.leave_behind(None)
            self._load_begun = True
        elif found := _SXID.search(text):
            self._switch_error(found, text, stamp)
        elif found := _XID.search(text):
            self._gpu_error(found, text, stamp)
        elif "NVRM" in text or "nvidia" in text:
            self._driver_message(text, stamp)
        else:
            self._other_message(text, stamp)

    def _gpu_error(self, found: "re.Match[str]", text: str, stamp: Stamp | None) -> None:
        address, code = plain_address(found[1]), int(found[2])
        fatal = _severity(found[3]) if 144 <= code <= 150 else None
        if code == 154 and _RECOVERED.search(found[3]):
            self._groups.leave_behind(address)
            self._groups.add(Key("gpu-reset", address), text, stamp)
            return
        group = self._groups.add(Key("xid", address, code, fatal), text, stamp)
        if group is None:
            return
        name, pid = _NAME.search(found[3]), _PID.search(found[3])
        group.process = name[1].strip() if name else group.process
        group.pid = int(pid[1]) if pid else group.pid
        if code == 154:
            group.text = text[:TEXT_CHARS]
        if code == 79:
            words_only = self._groups.open.pop(Key("fell-off-bus", address, 79), None)
            if words_only is not None:
                words_only.count = 0

    def _switch_error(self, found: "re.Match[str]", text: str, stamp: Stamp | None) -> None:
        """One SXid is printed as three lines; only the one with a severity counts."""
        address, code, rest = plain_address(found[1]), int(found[2]), found[3]
        if rest.startswith(("Data", "Severity")):
            if not any(Key("sxid", address, code, fatal) in self._groups.open for fatal in (True, False, None)):
                group = self._groups.add(Key("sxid", address, code), text, stamp)
                if group is not None:
                    group.known_only_by_detail = True
            return
        by_detail = self._groups.open.get(Key("sxid", address, code))
        if by_detail is not None and by_detail.known_only_by_detail:
            by_detail.count = 0
            del self._groups.open[by_detail.key]
        self._groups.add(Key("sxid", address, code, _severity(rest)), text, stamp)

    def _driver_message(self, text: str, stamp: Stamp | None) -> None:
        address = _address_in(text)
        if _FELL_OFF.search(text):
            if Key("xid", address, 79) not in self._groups.open:
                self._groups.add(Key("fell-off-bus", address, 79), text, stamp)
        elif _RM_INIT.search(text):
            # Two lines tell one failure; the second has less to say.
            if "RmInitAdapter" in text or Key("rm-init-failed", address) not in self._groups.open:
                self._groups.add(Key("rm-init-failed", address), text, stamp)
        elif "API mismatch" in text:
            self._groups.add(Key("api-mismatch"), text, stamp)
        elif _LOADING.search(text):
            if not self._load_begun:
                self._groups.leave_behind(None, before=stamp)
            self._load_begun = False
            self._groups.add(Key("driver-loaded"), text, stamp)
        elif text.startswith("NVRM") and _UNSUPPORTED.search(text):
            self._groups.add(Key("gpu-unsupported", address), text, stamp)
        elif re.search(r"I/O region assigned|BAR\d is 0M", text):
            self._groups.add(Key("bar-unassigned", address), text, stamp)
        elif _RESET_DONE.search(text):
            self._groups.leave_behind(address)
            self._groups.add(Key("gpu-reset", address), text, stamp)
        elif _NO_RECOVERY.search(text):
            self._groups.add(Key("pcie-error", address, other="no recovery"), text, stamp)
        elif _IOMMU.search(text):
            self._groups.add(Key("iommu-fault", address), text, stamp)
        else:
            self._other_message(text, stamp)

    def _other_message(self, text: str, stamp: Stamp | None) -> None:
        address = _address_in(text)
        if "oom-kill:" in text and (found := _OOM_LINE.search(text)):
            self._kill = (int(found[3]), found[1])
            self._killed(int(found[3]), found[2], text, stamp, told=False)
        elif found := _KILLED.search(text):
            self._killed(int(found[1]), found[2], text, stamp, told=True)
        elif _REJECTED.search(text):
            self._groups.add(Key("module-rejected"), text, stamp)
        elif found := _AER.search(text):
            severity = found[2].strip()
            fatal = _severity(severity) if severity.startswith("Uncorrect") else None
            self._groups.add(Key("pcie-error", plain_address(found[1]), None, fatal, severity), text, stamp)
        elif _IOMMU.search(text):
            self._groups.add(Key("iommu-fault", address), text, stamp)
        elif found := _BAR.search(text):
            self._bar(found[1], address, text, stamp)
        elif "amdgpu" in text and _RESET_DONE.search(text):
            self._groups.add(Key("gpu-reset", address), text, stamp)
        elif "amdgpu" in text and (found := _AMD.search(text)):
            fatal = True if _AMD_FATAL.search(found[0]) else None
            self._groups.add(Key("amdgpu-error", address, None, fatal, found[0].split()[0]), text, stamp)

    def _bar(self, number: str, address: str | None, text: str, stamp: Stamp | None) -> None:
        key = Key("bar-unassigned", address, other=number)
        if _BAR_FAILED.search(text):
            if " io " not in text and "[io" not in text:
                self._groups.add(key, text, stamp)
        elif "assigned" in text and "unassigned" not in text and key in self._groups.open:
            # The kernel tries again with other windows; what it found room for in the end is no fault.
            self._groups.open.pop(key).count = 0

    def _killed(self, pid: int, name: str, text: str, stamp: Stamp | None, *, told: bool) -> None:
        """Join the two lines of one kill: the first names the cgroup, the second the sizes."""
        cgroup = self._kill[1] if self._kill is not None and self._kill[0] == pid else None
        key = Key("oom-kill", other=f"{name}\0{cgroup or ''}")
        group = self._groups.open.get(key)
        if told and group is not None and cgroup is not None and group.pid == pid and group.known_only_by_detail:
            group.text, group.known_only_by_detail = text[:TEXT_CHARS], False
            return
        group = self._groups.add(key, text, stamp)
        if group is not None:
            group.process, group.pid, group.cgroup = name, pid, cgroup
            group.known_only_by_detail = not told


def plain_address(address: str) -> str:
    """Return a PCI address as facts write it: four-digit domain, lower case, no function.

    NVML and newer drivers write the domain with eight digits.
    """
    parts = address.lower().partition(".")[0].split(":")
    if len(parts) == 2:
        parts.insert(0, "0000")
    parts[0] = parts[0][-4:] if len(parts[0]) > 4 and parts[0].startswith("0000") else parts[0]
    return ":".join(parts)


def _severity(text: str) -> bool | None:
    found = _SEVERITY.search(text)
    return None if found is None else found[1] is None


def _address_in(text: str) -> str | None:
    found = _ANY_ADDRESS.search(text)
    return plain_address(found[1]) if found else None
