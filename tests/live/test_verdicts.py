"""What the engines' and the toolkit's words mean, as recorded on Docker 20.10.24, 26.1.5 and 28.5.2."""

import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus, Mig
from gpudoctor.facts.live import LiveGpu, LiveNode, LivePath, Seen
from gpudoctor.judging.live_paths import Verdict, verdict
from gpudoctor.judging.live_remedies import remedies
from gpudoctor.probes import live_script

UNKNOWN = Unavailable("not read")
OLD = ("failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
       "error during container init: error running hook #0: error running hook: exit status 1, stdout: , stderr: ")
NEW = ("failed to create task for container: failed to create shim task: OCI runtime create failed: runc create "
       "failed: unable to start container process: error during container init: error running prestart hook #0: exit "
       "status 1, stdout: , stderr: ")
STALE = ('error mounting "/usr/lib/libcuda.so.535.183.01" to rootfs at "/usr/lib/libcuda.so.1": stat '
         "/usr/lib/libcuda.so.535.183.01: no such file or directory")
LOAD = ("nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object "
        "file: no such file or directory")
DIRECT = ("invoking the NVIDIA Container Runtime Hook directly (e.g. specifying the docker --gpus flag) is not "
          "supported. Please use the NVIDIA Container Runtime (e.g. specify the --runtime=nvidia flag) instead")
CONDITION = "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver"
SHARED = ("/usr/lib/libnvidia-ml.so.1",)


def refused(error: str, path: str = "--gpus") -> Verdict:
    return verdict(LivePath(path=path, asked=("all",), created=True, error=error), UNKNOWN)


def inside(seen: Seen) -> Verdict:
    return verdict(LivePath(path="--gpus", asked=("all",), created=True, started=True, exit_code=0, seen=seen), UNKNOWN)


def nodes(error: str | None, *names: str) -> tuple[LiveNode, ...]:
    return tuple(LiveNode(name=f"/dev/{name}", error=error) for name in names or ("nvidiactl", "nvidia0"))


@pytest.mark.parametrize(
    ("error", "said", "command"),
    [
        (OLD + LOAD + ": unknown", LOAD, "ldconfig"),
        (NEW + LOAD, LOAD, "ldconfig"),
        (NEW + DIRECT, DIRECT, "mode=auto"),
        (NEW + CONDITION, CONDITION, "nvidia-smi"),
    ],
)
def test_the_toolkit_is_quoted(error: str, said: str, command: str) -> None:
    found = refused(error)
    assert (found.cause, found.said) == ("hook", said)
    fix = remedies("--gpus", found, None, UNKNOWN, UNKNOWN)
    assert command in str(fix[0].command)


@pytest.mark.parametrize(
    "error",
    [
        'could not select device driver "" with capabilities: [[gpu]]',
        'could not select device driver "cdi" with capabilities: []',
        "Unknown runtime specified nvidia",
        "unknown or invalid runtime name: nvidia",
        "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=all",
    ],
)
def test_a_path_that_is_not_there(error: str) -> None:
    assert refused(error).cause == "not-offered"


def test_a_stale_specification() -> None:
    assert refused(STALE, "CDI") == Verdict("spec", "/usr/lib/libcuda.so.535.183.01")


def test_another_refusal_is_not_guessed_at() -> None:
    assert refused("no space left on device").cause == "refused"


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (Seen(inside="python", nodes=nodes("EPERM"), libraries=SHARED, nvml_code=999), "cgroup"),
        (Seen(inside="python", nodes=nodes("EACCES"), libraries=SHARED, nvml_code=4), "mode"),
        # As root with the library alone, NVML makes the control node itself and says the same words.
        (Seen(inside="shell", nodes=(), libraries=SHARED, smi_exit=255, smi_line="Unknown Error"), "no-nodes"),
        (Seen(inside="shell", nodes=(), libraries=()), "nothing-injected"),
        (Seen(inside="python", nodes=nodes(None), libraries=SHARED, nvml_code=18), "library"),
        (Seen(inside="python", nodes=nodes("ENXIO"), libraries=SHARED, nvml_code=9), "nvml"),
        (Seen(inside="shell", nodes=nodes(None), libraries=SHARED), "injected-only"),
        (Seen(inside="shell", nodes=nodes(None), libraries=SHARED, python_exit=139), "crashed"),
        (Seen(inside="python", nodes=nodes(None), nvml_code=0, nvml_count=0), "fewer"),
        (Seen(inside="python", nvml_code=0, nvml_count=1, uuids=("a",), cuda_code=100), "cuda"),
        (Seen(inside="python", nvml_code=0, nvml_count=1, uuids=("a",), cuda_code=0, cuda_count=1,
              gpus=(LiveGpu(step="cuMemAlloc_v2", code=2),)), "nvml-only"),
        (Seen(inside="python", nvml_code=0, nvml_count=1, uuids=("a",), cuda_code=0, cuda_count=1,
              gpus=(LiveGpu(step="comparison"),)), "bytes"),
        (Seen(inside="python", nvml_code=0, nvml_count=1, uuids=("a",), cuda_code=0, cuda_count=1,
              gpus=(LiveGpu(step="cuDevicePrimaryCtxRetain", code=46),)), "nvml-only"),
        (Seen(inside="shell", smi_exit=0, uuids=("a",)), "nvml-only"),
        (Seen(inside="program", nodes=nodes("EPERM"), libraries=SHARED, program_exit=0, nvml_code=999), "cgroup"),
        (Seen(inside="program", nodes=nodes(None), libraries=SHARED, other_c_library="musl"), "injected-only"),
        (Seen(inside="program", other_c_library="none"), "nothing-injected"),
        # A glibc that cannot start anything is the image's matter; one that lacks the library is the path's.
        (Seen(inside="program", nodes=nodes(None), libraries=SHARED, program_exit=127), "injected-only"),
        (Seen(inside="program", nodes=nodes(None), libraries=SHARED, program_exit=0, nvml_error="no such"), "nvml"),
        (Seen(inside="program", nodes=nodes(None), libraries=SHARED, program_exit=139), "crashed"),
        (Seen(inside="program", program_exit=139, nvml_code=0, nvml_count=1, uuids=("a",), cuda_code=0), "crashed"),
        (Seen(inside="program", program_exit=0, nvml_code=0, nvml_count=1, uuids=("a",), cuda_code=0, cuda_count=1,
              gpus=(LiveGpu(uuid="a", ok=True),)), "works"),
    ],
)  # fmt: skip
def test_what_was_seen_inside_decides(seen: Seen, cause: str) -> None:
    assert inside(seen).cause == cause


@pytest.mark.parametrize(("enabled", "cause"), [(False, "cuda"), (True, "works")])
def test_cuda_lists_fewer_than_nvml_only_where_instances_are_in_use(enabled: bool, cause: str) -> None:
    host = Gpus(gpus=tuple(Gpu(index=n, uuid=f"GPU-{n}", mig=Mig(enabled=enabled, pending=enabled)) for n in range(2)))
    seen = Seen(inside="python", nvml_code=0, nvml_count=2, uuids=("GPU-0", "GPU-1"), cuda_code=0, cuda_count=1,
                gpus=(LiveGpu(ok=True),))  # fmt: skip
    tried = LivePath(path="--gpus", asked=("all",), created=True, started=True, exit_code=0, seen=seen)
    assert verdict(tried, host).cause == cause


@pytest.mark.parametrize(("uuid", "cause"), [("GPU-0", "works"), ("GPU-1", "cuda")])
def test_cuda_must_list_the_gpus_that_nvml_lists(uuid: str, cause: str) -> None:
    host = Gpus(gpus=(Gpu(index=0, uuid="GPU-0", mig=Mig(enabled=False, pending=False)),))
    seen = Seen(inside="program", program_exit=0, nvml_code=0, nvml_count=1, uuids=("GPU-0",), cuda_code=0,
                cuda_count=1, gpus=(LiveGpu(uuid=uuid, ok=True),))  # fmt: skip
    tried = LivePath(path="--gpus", asked=("all",), created=True, started=True, exit_code=0, seen=seen)
    assert verdict(tried, host).cause == cause


def test_what_an_image_prints_by_itself_is_no_fact() -> None:
    noise = b"gpudoctor-facts [[[[\ngpudoctor-facts " + b"[" * 60_000 + b"\ngpudoctor-python x\n\xff\xfe\n"
    said = noise + b"gpudoctor-node /dev/nvidia0 sh: can't open /dev/nvidia0: Operation not permitted\n"
    seen = live_script.read(said)
    assert (seen.inside, seen.nodes) == (None, (LiveNode(name="/dev/nvidia0", error="EPERM"),))


def test_facts_of_a_wrong_type_are_believed_in_nothing() -> None:
    seen = live_script.read(b'gpudoctor-inside shell\ngpudoctor-facts {"nvml_code": "0", "nvml_count": 8}\n')
    assert (seen.inside, seen.listed) == ("shell", None)
