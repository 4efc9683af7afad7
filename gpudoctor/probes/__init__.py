"""The only part of gpudoctor that touches the machine: probes, and the runner that keeps them apart.

A probe is a module with ``SECTIONS`` (the sections it fills), ``OPTIONS`` (the options it knows) and
``probe(out, root, **options)``. What cannot hang shares the child ``files``; each other source has its own.
"""

from gpudoctor.probes.runner import ProbeSpec

PROBES: tuple[ProbeSpec, ...] = (
    # First, because it waits longest: it looks at the GPUs several times.
    ProbeSpec(name="nvml", modules=("nvml",), sections=("gpus",), patience=10),
    ProbeSpec(
        name="files",
        modules=("host", "pci", "driver", "packages", "amd", "fabric_ports"),
        sections=(
            "host", "memory", "limits", "clock", "locale", "pci", "driver", "packages", "amd", "fabric_ports",
        ),
    ),
    ProbeSpec(name="kernel log", modules=("kernel_log",), sections=("kernel_log",), patience=8),
    ProbeSpec(name="storage", modules=("storage",), sections=("storage",), patience=5),
    ProbeSpec(name="disk health", modules=("disk_health",), sections=("disk_health",), patience=8),
    ProbeSpec(name="processes", modules=("processes",), sections=("processes",), patience=5),
    ProbeSpec(name="systemctl", modules=("services",), sections=("services",), patience=5),
    ProbeSpec(name="modinfo", modules=("module_file",), sections=("module_file",), patience=5),
    ProbeSpec(name="amd-smi", modules=("amd_smi",), sections=("amd_smi",), patience=15),
    ProbeSpec(name="toolkits", modules=("toolkits",), sections=("toolkits",), patience=5),
    ProbeSpec(
        name="docker",
        modules=("container_toolkit", "docker_engine"),
        sections=("container_toolkit", "docker", "containers"),
        patience=6,
    ),
    ProbeSpec(name="python envs", modules=("python_envs",), sections=("python_envs",), patience=5),
    ProbeSpec(name="engines", modules=("engine_binaries",), sections=("engines",), patience=5),
    ProbeSpec(name="nginx", modules=("proxy",), sections=("proxy",), patience=5),
    ProbeSpec(name="cuda", modules=("cuda",), sections=("cuda",), patience=60, deep=True),
    ProbeSpec(name="live", modules=("live",), sections=("live",), patience=60, live=True),
)
#: Not among the probes of a check: who asks for a check expects no requests to his services.
SERVING = ProbeSpec(name="serving", modules=("serving",), sections=("serving",), patience=8)
#: Nor these: what stands between an engine and others matters once one serves, and reading it takes root.
FIREWALL = ProbeSpec(name="firewall", modules=("firewall",), sections=("firewall",), patience=5)
