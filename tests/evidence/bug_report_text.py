"""A report as ``nvidia-bug-report.sh`` writes it: rulers, heads and sections in its order, contents cut short."""

RULE = "_" * 44

#: Two H100; the second fell off the bus in this boot, and an earlier boot had trouble of another kind.
XID_79 = "NVRM: Xid (PCI:0000:2a:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
XID_48 = "NVRM: Xid (PCI:0000:17:00): 48, pid=1234, name=python3, DBE (double bit error) on FBHUB."
LOADED = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22-I3)"


def of_file(path: str, text: str) -> str:
    """A section of a file's content."""
    return f"{RULE}\n\n*** {path}\n*** ls: -r--r--r-- 1 root root 0 2026-11-19 07:02:11.0 +0100 {path}\n{text}\n\n"


def of_command(command: str, text: str) -> str:
    """A section of a command's output."""
    return f"{RULE}\n\n{command}\n\n{text}\n\n"


def lspci_device(address: str, serial: str) -> str:
    """One device of ``lspci -nnDvvvxxxx``: facts, hex dump, empty line."""
    return (
        f"0000:{address}.0 3D controller [0302]: NVIDIA Corporation GH100 [H100 SXM5 80GB] [10de:2330] (rev a1)\n"
        "\tSubsystem: NVIDIA Corporation Device [10de:16c1]\n"
        "\tControl: I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr+ Stepping- SERR+ FastB2B- DisINTx+\n"
        "\tRegion 0: Memory at 38ffe000000 (64-bit, prefetchable) [size=16M]\n"
        "\tCapabilities: [60] Express (v2) Endpoint, IntMsgNum 0\n"
        "\t\tLnkSta:\tSpeed 32GT/s, Width x16\n"
        f"\tCapabilities: [100 v1] Device Serial Number {serial}\n"
        "\tKernel driver in use: nvidia\n"
        "\tKernel modules: nvidiafb, nouveau, nvidia_drm, nvidia\n"
        "00: de 10 30 23 06 05 10 00 a1 00 02 03 00 00 00 00\n"
        "10: 0c 00 00 fe 8f 03 00 00 0c 00 00 00 8e 03 00 00\n"
    )


QUERY = """
==============NVSMI LOG==============

Timestamp                                              : Thu Nov 19 07:05:01 2026
Driver Version                                         : 580.95.05
CUDA Version                                           : 13.0

Attached GPUs                                          : 2
GPU 00000000:17:00.0
    Product Name                                       : NVIDIA H100 80GB HBM3
    GPU UUID                                           : GPU-5b2f0000-aaaa-bbbb-cccc-000000000001
    FB Memory Usage
        Total                                          : 81559 MiB
        Used                                           : 0 MiB
        Free                                           : 81079 MiB
    Remapped Rows
        Correctable Error                              : 0
        Uncorrectable Error                            : 0
        Pending                                        : No
        Remapping Failure Occurred                     : No

GPU 00000000:2A:00.0
    Product Name                                       : NVIDIA H100 80GB HBM3
    GPU UUID                                           : GPU-5b2f0000-aaaa-bbbb-cccc-000000000002
    FB Memory Usage
        Total                                          : 81559 MiB
        Used                                           : 0 MiB
        Free                                           : 81079 MiB

"""


def journal(*messages: str, day: str = "Nov 19") -> str:
    """Lines as journalctl prints them."""
    return "\n".join(f"{day} 07:0{n}:40 gpu07 kernel: {message}" for n, message in enumerate(messages))


def nvlink(told: str, gpus: int = 2, down: int = 0) -> str:
    """An answer of ``nvidia-smi nvlink``; of the last GPU so many links are down."""
    return "".join(
        f"GPU {gpu}: NVIDIA H100 80GB HBM3 (UUID: GPU-5b2f0000-aaaa-bbbb-cccc-00000000000{gpu + 1})\n"
        + "".join(f"\t Link {n}: {'<inactive>' if gpu == gpus - 1 and n >= 18 - down else told}\n" for n in range(18))
        for gpu in range(gpus)
    )


def report(
    now: tuple[str, ...] = (),
    before: tuple[str, ...] = (),
    installer: str = "",
    query: str = QUERY,
    links: str = nvlink("26.562 GB/s"),
) -> str:
    """A whole report; ``now`` and ``before`` are kernel messages of this boot and of the one before."""
    newest = (LOADED, *now)
    dmesg = "\n".join(f"[{n * 100 + 12}.345678] {message}" for n, message in enumerate(newest))
    return (
        f"{RULE}\n\nStart of NVIDIA bug report log file.  Please include this file, along\n"
        "with a detailed description of your problem, when reporting a graphics\n"
        "driver bug via the NVIDIA Linux forum (see forums.developer.nvidia.com)\n"
        "or by sending email to 'linux-bugs@nvidia.com'.\n\n"
        "nvidia-bug-report.sh Version: 36092350\n\nDate: Thu Nov 19 07:05:00 AM CET 2026\n"
        "uname: Linux gpu07 6.8.0-52-generic #53~22.04.1-Ubuntu SMP PREEMPT_DYNAMIC Wed Jan 15 19:18:46 UTC 2026 "
        "x86_64 x86_64 x86_64 GNU/Linux\ncommand line flags: \n\n"
        + of_file("/etc/issue", "Ubuntu 22.04.5 LTS \\n \\l")
        + of_file("/etc/os-release", 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nNAME="Ubuntu"\nVERSION_ID="22.04"\nID=ubuntu')
        + (of_file("/var/log/nvidia-installer.log", installer) if installer
           else f"{RULE}\n\n*** /var/log/nvidia-installer.log does not exist\n\n")
        + of_file("/var/log/Xorg.0.log", "(EE) NVIDIA(GPU-0): Failed to initialize the NVIDIA GPU at PCI:42:0:0.")
        + of_command("/usr/bin/lspci -nntv", "-[0000:00]-+-00.0  Intel Corporation Device [8086:09a2]\n"
                     " +-[0000:17]---01.0-[17]----00.0  NVIDIA Corporation GH100 [H100 SXM5 80GB] [10de:2330]")
        + of_command("/usr/bin/lspci -nn",
                     "17:00.0 3D controller [0302]: NVIDIA Corporation GH100 [H100 SXM5 80GB] [10de:2330] (rev a1)\n"
                     "2a:00.0 3D controller [0302]: NVIDIA Corporation GH100 [H100 SXM5 80GB] [10de:2330] (rev a1)")
        + of_command("/usr/bin/lspci -nnDvvvxxxx",
                     "0000:00:00.0 System peripheral [0880]: Intel Corporation Device [8086:09a2] (rev 20)\n"
                     "\tSubsystem: Super Micro Computer Inc Device [15d9:1c03]\n00: 86 80 a2 09 00 00 10 00\n\n"
                     + lspci_device("17:00", "48-b0-2d-00-00-00-00-01") + "\n"
                     + lspci_device("2a:00", "48-b0-2d-00-00-00-00-02"))
        + of_command("/usr/sbin/modinfo nvidia | grep vermagic",
                     "vermagic:       6.8.0-52-generic SMP preempt mod_unload modversions ")
        + f"{RULE}\n\nScanning kernel log files for NVIDIA kernel messages:\n\n  /var/log/kern.log:\n"
        + journal(LOADED, *before, LOADED, *now) + "\n"
        + "\n  journalctl -b -0:\n" + journal(*newest) + "\n"
        + ("\n  journalctl -b -1:\n" + journal(LOADED, *before, day="Nov 12") + "\n" if before else "") + "\n"
        + f"{RULE}\n\ndmesg:\n\n{dmesg}\n"
        + of_file("/proc/cmdline", "BOOT_IMAGE=/boot/vmlinuz-6.8.0-52-generic root=UUID=0 ro")
        + of_file("/proc/meminfo", "MemTotal:       2113531892 kB\nMemFree:        1999511208 kB\n"
                  "MemAvailable:   2090016740 kB\nSwapTotal:       8388604 kB\nSwapFree:        8388604 kB")
        + of_file("/proc/modules", "nvidia_uvm 1957888 0 - Live 0x0000000000000000 (O)\n"
                  "nvidia 104165376 2 nvidia_uvm, Live 0x0000000000000000 (O)")
        + of_file("/proc/driver/nvidia/version",
                  "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n"
                  "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)")
        + of_file("/proc/driver/nvidia/params", "ResmanDebugLevel: 4294967295\nEnableGpuFirmware: 18")
        + of_file("/proc/driver/nvidia/gpus/0000:17:00.0/information",
                  "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: \t\t 286\nBus Location: \t 0000:17:00.0\nGPU Excluded:\t No")
        + f"{RULE}\n\n/usr/bin/nvidia-debugdump -D\n\n" + ("UEsDBBQAAAAIAGRlYnVnZHVtcC5sb2cAAA" * 3)[:76] + "\n\n"
        + f"{RULE}\n\n/usr/bin/nvidia-smi --query\n\n{query}\n"
        + "/usr/bin/nvidia-smi nvlink --errorcounters\n\n" + (links and nvlink("Replay Errors: 0")) + "\n"
        + "/usr/bin/nvidia-smi nvlink --status\n\n" + links + "\n"
        + f"{RULE}\n\nvulkaninfo not found, skipping vulkaninfo output\n\n"
    )  # fmt: skip
