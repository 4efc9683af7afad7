"""Which of the three paths works: a table over engine, toolkit and configuration, and how containers are routed."""

from typing import Any

import pytest
from msgspec.structs import replace

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import CdiSpec, ContainerToolkit, DaemonFile, Program, ToolkitConfig
from gpudoctor.facts.docker import Container, DeviceRequest, Docker, ImageFacts, Runtime
from gpudoctor.judging.gpu_containers import engine_of, route
from gpudoctor.judging.gpu_paths import Paths, paths

RUNC, NVIDIA = Runtime(name="runc", path="runc"), Runtime(name="nvidia", path="nvidia-container-runtime")
SPEC = CdiSpec(path="/etc/cdi/nvidia.yaml", version="0.5.0", kind="nvidia.com/gpu", devices=("0", "all"))
NAMES = ("nvidia.com/gpu=0", "nvidia.com/gpu=all")
EARLY, LATE = "2026-11-01T00:00:00Z", "2026-11-19T00:00:00Z"
TOLD = DaemonFile(path="/etc/docker/daemon.json", runtimes={"nvidia": "nvidia-container-runtime"})


def engine(version: str = "28.5.2", *, nvidia: bool = True, **changes: Any) -> Docker:
    base = Docker(endpoint="unix:///var/run/docker.sock", version=version, started="2026-11-10T00:00:00Z",
                  runtimes=(NVIDIA, RUNC) if nvidia else (RUNC,), default_runtime="runc")
    return replace(base, **changes)


def kit(version: str | None = "1.20.2", *, mode: str | None = None, no_cgroups: bool = False, on_path: bool = True,
        **changes: Any) -> ContainerToolkit:
    names = ("nvidia-container-runtime", "nvidia-container-runtime-hook", "nvidia-cdi-hook") if version else ()
    base = ContainerToolkit(
        installed=True, version=version, installed_at=EARLY, daemon_file=None, cdi_specs=(),
        programs=tuple(Program(name=name, path=f"/usr/bin/{name}", on_daemon_path=on_path) for name in names),
        config=ToolkitConfig(path="/etc/nvidia-container-runtime/config.toml", mode=mode, no_cgroups=no_cgroups),
    )
    return replace(base, **changes)


def short(found: Paths) -> str:
    """``+`` works, ``-`` cannot, ``?`` not known: --gpus, runtime: nvidia, CDI."""
    return "".join("+" if way.works else "-" if way.works is False else "?" for way in found)


CDI_ON: dict[str, Any] = {"cdi_spec_dirs": ("/etc/cdi",), "cdi_devices": NAMES}
CDI_EMPTY: dict[str, Any] = {"cdi_spec_dirs": ("/etc/cdi",), "cdi_devices": ()}


@pytest.mark.parametrize(
    ("docker", "toolkit", "expected", "why"),
    [
        (engine("20.10.24"), kit("1.13.5"), "++-", "no CDI; 25.0"),
        (engine("18.09.9", nvidia=False), kit("1.13.5"), "---", "no --gpus; 19.03"),
        (engine("26.1.5", cdi_spec_dirs=()), kit(), "++-", "features.cdi is not true"),
        (engine("26.1.5", cdi_spec_dirs=("/etc/cdi",)), kit(cdi_specs=(SPEC,)), "+++", "/etc/cdi/nvidia.yaml"),
        (engine(**CDI_EMPTY), kit(), "++-", "no specification lists nvidia.com/gpu"),
        (engine(**CDI_ON), kit(cdi_specs=(SPEC,)), "+++", "2 names"),
        (engine(cdi_spec_dirs=(), cdi_devices=()), kit(), "++-", "features.cdi is false"),
        (engine(**CDI_ON), kit(cdi_specs=(replace(SPEC, missing=("/usr/lib/libcuda.so.1",)),)), "++-", "not there"),
        (engine(**CDI_EMPTY), kit(cdi_specs=(replace(SPEC, failure="line 3: no mapping"),)), "++-", "line 3"),
        (engine("25.0.5", cdi_spec_dirs=("/etc/cdi",)), kit(cdi_specs=(replace(SPEC, version="0.7.0"),)), "++-",
         "cannot read"),
        # The toolkit: absent, unregistered, not restarted, half there.
        (engine(nvidia=False, **CDI_EMPTY), kit(None), "---", "not installed"),
        (engine(nvidia=False, **CDI_EMPTY), kit(), "+--", "not registered"),
        (engine(nvidia=False, **CDI_EMPTY), kit(daemon_file=TOLD, installed_at=LATE), "---", "has not read it since"),
        (engine(nvidia=False, **CDI_EMPTY), kit(daemon_file=TOLD), "+--", "has not read it since"),
        (engine(nvidia=False, **CDI_EMPTY), kit(installed_at=LATE), "?--", "installed or updated after"),
        # A toolkit that was only updated: the registered runtime shows that the daemon had found one.
        (engine(**CDI_EMPTY), kit(installed_at=LATE), "++-", "hook on the daemon's PATH"),
        (engine(**CDI_EMPTY), kit(None), "---", "registered, but"),
        (engine(**CDI_EMPTY), kit(on_path=False), "-+-", "not on the daemon's PATH"),
        # Its settings.
        (engine(**CDI_EMPTY), kit(mode="cdi"), "---", "the hook refuses"),
        (engine(**CDI_ON), kit(mode="cdi", cdi_specs=(SPEC,)), "-++", "the hook refuses"),
        (engine(**CDI_EMPTY), kit(mode="legacy", no_cgroups=True), "---", "no-cgroups = true"),
        (engine(**CDI_EMPTY), kit("1.17.8", no_cgroups=True), "---", "no-cgroups = true"),
        (engine(**CDI_EMPTY), kit("1.18.0", no_cgroups=True), "-+-", "mode jit-cdi"),
        # --gpus through CDI since 29.2: no hook is needed any more.
        (engine("29.2.0", **CDI_ON), kit(mode="cdi", cdi_specs=(SPEC,)), "+++", "tries first since 29.2"),
        (engine("29.2.0", **CDI_EMPTY), kit(), "++-", "hook on the daemon's PATH"),
        # Other kinds.
        (engine("24.0.5", kind="snap", nvidia=False), kit(daemon_file=TOLD), "---", "the snap's daemon"),
        (engine("27.2.0", kind="snap", cdi_spec_dirs=()), kit(None), "?+-", "snap's own toolkit"),
        (engine("24.0.7", kind="rootless"), kit("1.17.8"), "---", "without root"),
        (engine("24.0.7", kind="rootless"), kit("1.17.8", no_cgroups=True), "++-", "mode legacy"),
        (engine("4.3.1", kind="podman", nvidia=False), kit(cdi_specs=(SPEC,)), "--+", "ignores it silently"),
        (engine("5.4.2", kind="podman", nvidia=False), kit(cdi_specs=(SPEC,)), "+-+", "takes it as CDI"),
        (engine("5.0.0", kind="podman", nvidia=False), kit(cdi_specs=(replace(SPEC, version="0.7.0"),)), "---",
         "cannot read"),
        (engine(kind="desktop", **CDI_EMPTY), kit(), "?+-", "virtual machine"),
        # Could not look is not "cannot".
        (engine(runtimes=Unavailable("/info was cut short"), **CDI_EMPTY), kit(), "+?-", "cut short"),
    ],
)
def test_three_paths(docker: Docker, toolkit: ContainerToolkit, expected: str, why: str) -> None:
    found = paths(docker, toolkit)
    assert short(found) == expected, [way.words for way in found]
    assert any(why in way.words for way in found), [way.words for way in found]


def test_nothing_known_is_not_known() -> None:
    blank = paths(Docker(endpoint="unix:///var/run/docker.sock"), ContainerToolkit())
    assert short(blank) == "???"


GPU = DeviceRequest(count=-1, capabilities=("gpu",))


@pytest.mark.parametrize(
    ("container", "docker", "toolkit", "expected"),
    [
        ({"requests": (GPU,)}, engine(), kit(), "hook"),
        ({"requests": (GPU,)}, engine("29.2.0", **CDI_ON), kit(cdi_specs=(SPEC,)), "cdi"),
        ({"requests": (GPU,)}, engine("4.3.1", kind="podman", nvidia=False), kit(cdi_specs=(SPEC,)), "ignored"),
        ({"requests": (DeviceRequest(driver="cdi", device_ids=("nvidia.com/gpu=0",)),)}, engine(), kit(), "cdi"),
        ({"requests": (DeviceRequest(driver="cdi", device_ids=("amd.com/gpu=0",)),)}, engine(), kit(), None),
        ({"requests": (DeviceRequest(driver="amd", capabilities=("gpu",)),)}, engine(), kit(), None),
        ({"runtime": "nvidia", "environment": {"NVIDIA_VISIBLE_DEVICES": "0"}}, engine(), kit("1.17.8"), "legacy"),
        ({"runtime": "nvidia", "environment": {"NVIDIA_VISIBLE_DEVICES": "0"}}, engine(), kit("1.18.0"), "jit-cdi"),
        ({"runtime": "nvidia", "environment": {"NVIDIA_VISIBLE_DEVICES": "void"}}, engine(), kit(), None),
        ({"runtime": "nvidia"}, engine(), kit(), None),
        ({"runtime": "nvidia", "image_facts": ImageFacts(asks_for_gpus=True)}, engine(), kit(), "jit-cdi"),
        ({"devices": ("/dev/nvidia0", "/dev/nvidiactl")}, engine(), kit(), "devices"),
        ({"devices": ("nvidia.com/gpu=0",)}, engine("5.4.2", kind="podman"), kit(), "cdi"),
        ({}, engine(), kit(), None),
    ],
)
def test_route_of_a_container(
    container: dict[str, Any], docker: Docker, toolkit: ContainerToolkit, expected: str | None
) -> None:
    assert route(Container(id="1", name="c", **container), docker, toolkit) == expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("vllm/vllm-openai:v0.33.0", "vllm"),
        ("ollama/ollama", "ollama"),
        ("registry.local:5000/ai/ollama", "ollama"),
        ("ghcr.io/ggml-org/llama.cpp:server-cuda", "llama.cpp"),
        ("lmsysorg/sglang:v0.5.3", "sglang"),
        ("ghcr.io/open-webui/open-webui:ollama", None),
        ("nginx:1.29", None),
        ("sha256:0123", None),
        ("", None),
    ],
)
def test_engine_of_an_image(image: str, expected: str | None) -> None:
    assert engine_of(Container(id="1", name="c", image=image)) == expected
