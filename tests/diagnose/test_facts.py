"""Reports and lists become the same facts that the probes fill."""

import io

from gpudoctor.evidence.paste import Paste
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.python_envs import PythonEnvs, TorchBuild
from gpudoctor.facts.snapshot import Snapshot, section_types


def facts_of(text: str) -> Snapshot:
    paste = Paste()
    paste.feed(io.BytesIO(text.encode()), "paste.txt")
    return paste.snapshot()


def torch_of(text: str) -> TorchBuild:
    envs = facts_of(text).python_envs
    assert isinstance(envs, PythonEnvs)
    build = envs.environments[0].torch
    assert isinstance(build, TorchBuild)
    return build


def test_conda_and_pip_lists_tell_the_build() -> None:
    head = "# Name                    Version                   Build  Channel\n"
    assert torch_of(head + "pytorch  2.4.0  py3.11_cuda12.4_cudnn9.1.0_0  pytorch\n").cuda == "12.4"
    assert torch_of(head + "pytorch  2.6.0  cuda126_generic_py312h7  conda-forge\n").cuda == "12.6"
    assert torch_of(head + "pytorch  2.4.0  cpu_generic_py311h1  conda-forge\n").cpu_only
    assert torch_of("Package    Version\n---------- -------\ntorch      2.4.0+cu121\n").cuda == "12.1"
    assert torch_of("torch==2.2.0+cpu\n").cpu_only
    assert torch_of("torch==2.6.0+rocm6.2\n").hip == "6.2"


def test_nvidia_smi_table_tells_gpus_and_driver() -> None:
    gpus = facts_of(
        "| NVIDIA-SMI 535.247.01             Driver Version: 535.247.01   CUDA Version: 12.2     |\n"
        "|   0  Quadro RTX 8000                On  | 00000000:1A:00.0 Off |                  Off |\n"
        "| 33%   34C    P8              13W / 260W |      5MiB / 49152MiB |      0%      Default |\n"
    ).gpus
    assert isinstance(gpus, Gpus)
    assert (gpus.driver_version, gpus.cuda_version) == ("535.247.01", 12020)
    assert (gpus.gpus[0].name, gpus.gpus[0].memory_total_bytes) == ("Quadro RTX 8000", 49152 << 20)


def test_notes_in_any_order_and_unknown_keys() -> None:
    facts = facts_of("weather: fine\nkernel: 6.8.0-60-generic\nOS: Rocky Linux 9.4\nPython platform: aarch64\n")
    assert isinstance(facts.host, Host)
    assert (facts.host.os_id, facts.host.kernel_release, facts.host.architecture) == (
        "rocky", "6.8.0-60-generic", "aarch64",
    )  # fmt: skip


def test_a_log_is_not_taken_for_notes() -> None:
    facts = facts_of("kernel: [12.3] usb 1-1: new device\nmodel: loaded\nERROR: out of order\n")
    assert isinstance(facts.host, Unavailable)


def test_what_was_not_pasted_is_nothing_to_judge() -> None:
    facts = facts_of("hello\n")
    for name in set(section_types()) - {"signatures"}:
        section = getattr(facts, name)
        assert isinstance(section, Unavailable)
        assert section.reason == "not in what you pasted"
        assert section.harmless
