"""Modes, memory that others hold, and sets of GPUs meant for one model."""

from typing import Any

import pytest

from gpudoctor.checking.target import EngineWish, Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda import Cuda, P2pPair
from gpudoctor.facts.gpus import Gpu, GpuProcess, Gpus, Mig, NvLink, Peer
from gpudoctor.facts.host import Host
from gpudoctor.facts.kernel_log import KernelEvent, KernelLog
from gpudoctor.reports.words import message
from gpudoctor.testing import judge_check

GIB = 2**30
NONE = Unavailable("this GPU has none", "not-supported")
A100, RTX4090 = "NVIDIA A100 80GB PCIe", "NVIDIA GeForce RTX 4090"
VLLM = Target(engines=(EngineWish("vllm"),))


def run(check_id: str, *cards: Gpu, target: Target | None = None, **sections: Any) -> list[tuple[str, str]]:
    results = judge_check(check_id, target=target, gpus=Gpus(count=len(cards), gpus=cards), **sections)
    return [(r.subject, r.status) for r in results]


def status(check_id: str, *cards: Gpu, target: Target | None = None, **sections: Any) -> str:
    ((_, found),) = run(check_id, *cards, target=target, **sections)
    return found


@pytest.mark.parametrize(
    ("mig", "target", "expected"),
    [
        (Mig(enabled=False, pending=False, instances=0), Target(), "pass"),
        (Mig(enabled=True, pending=False, instances=0), Target(), "warn"),
        (Mig(enabled=False, pending=True), Target(), "warn"),
        (Mig(enabled=True, pending=True, instances=0), Target(), "fail"),
        (Mig(enabled=True, pending=True, instances=2), Target(), "info"),
        (Mig(enabled=True, pending=True, instances=2), VLLM, "info"),
        (Mig(enabled=True, pending=True, instances=2), Target(gpus=(0, 1), model="m"), "fail"),
        (Mig(enabled=True, pending=True, instances=2), Target(gpus=(0,), model="m"), "info"),
        (Mig(enabled=True, pending=True), Target(), "info"),
        (NONE, Target(), "skip"),
    ],
)
def test_mig(mig: Mig | Unavailable, target: Target, expected: str) -> None:
    assert status("gpu.mig-unexpected", Gpu(index=0, name="NVIDIA H100 80GB HBM3", mig=mig), target=target) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("default", "pass"), ("prohibited", "fail"), ("exclusive-process", "warn"), ("exclusive-thread", "warn"),
     (NONE, "skip")],
)
def test_compute_mode(mode: Any, expected: str) -> None:
    assert status("gpu.compute-mode", Gpu(index=0, name=A100, compute_mode=mode)) == expected


def held(*processes: GpuProcess, free: int = 80, used: int | None = None, **facts: Any) -> Gpu:
    return Gpu(index=0, name=A100, memory_total_bytes=80 * GIB, memory_free_bytes=free * GIB, processes=processes,
               memory_used_bytes=(80 - free) * GIB if used is None else used, memory_reserved_bytes=GIB // 2, **facts)


def process(name: str, gib: float | None, kind: str = "compute", pid: int = 42, user: str = "kim") -> GpuProcess:
    used = None if gib is None else int(gib * GIB)
    return GpuProcess(pid=pid, kind=kind, used_bytes=used, name=name, user=user)


XORG = process("/usr/lib/xorg/Xorg", 0.8, "graphics", pid=7)


@pytest.mark.parametrize(
    ("card", "target", "expected"),
    [
        (held(), None, "pass"),
        (held(), VLLM, "pass"),
        (held(process("python3", 20), free=60), None, "warn"),
        (held(process("python3", 20), free=60), VLLM, "fail"),
        (held(process("python3", 4), free=76), VLLM, "warn"),
        (held(process("dcgm", 0.1), free=79, used=GIB // 10), None, "pass"),
        (held(XORG, free=79, used=int(0.9 * GIB)), None, "info"),
        (held(XORG, process("gnome-shell", 0.6), free=78, used=int(1.5 * GIB)), None, "info"),
        (held(XORG, process("python3", 20), free=59), None, "warn"),
        (held(free=60), None, "warn"),
        (held(free=60), VLLM, "fail"),
        (held(process("python3", None), free=60), None, "pass"),
        (held(free=10, mig=Mig(enabled=True, pending=True, instances=2)), VLLM, "skip"),
        (Gpu(index=0, name="NVIDIA GB10", memory_total_bytes=NONE, memory_free_bytes=NONE), VLLM, "skip"),
    ],
)
def test_memory_in_use(card: Gpu, target: Target | None, expected: str) -> None:
    assert status("gpu.memory-in-use", card, target=target) == expected


def test_who_holds_it_is_named_and_the_desktop_is_not_accused() -> None:
    card = held(process("/opt/venv/bin/python3", 20), XORG, free=59)
    (result,) = judge_check("gpu.memory-in-use", gpus=Gpus(gpus=(card,)))
    assert result.finding.params["processes"] == ("python3 (pid 42, kim)",)
    assert "Xorg" not in message(result.finding)


def test_under_wsl_the_windows_desktop_is_on_the_gpu() -> None:
    assert status("gpu.memory-in-use", held(free=78), host=Host(wsl=True)) == "info"
    assert status("gpu.memory-in-use", held(free=78), host=Host(wsl=False)) == "warn"


def test_older_drivers_count_their_own_reserve_as_used() -> None:
    card = held(free=79, used=GIB)
    assert status("gpu.memory-in-use", card) == "warn"
    old = Gpu(index=0, name=A100, memory_total_bytes=80 * GIB, memory_free_bytes=79 * GIB, memory_used_bytes=GIB,
              memory_reserved_bytes=Unavailable("older call", "driver-too-old"), processes=())
    assert status("gpu.memory-in-use", old) == "pass"


def kinds(*names: str, **facts: Any) -> tuple[Gpu, ...]:
    return tuple(Gpu(index=n, name=name, memory_total_bytes=80 * GIB, **facts) for n, name in enumerate(names))


def test_sets_are_judged_only_where_several_gpus_are_wanted_for_one_model() -> None:
    mixed = kinds(A100, RTX4090)
    for check_id in ("gpu.mixed-kinds", "gpu.mixed-vbios", "gpu.far-apart"):
        for target in (None, VLLM, Target(gpus=(0,)), Target(gpus=(0,), model="m")):
            assert status(check_id, *mixed, target=target) == "skip"
    assert status("gpu.mixed-kinds", *mixed, target=Target(gpus=(0, 1))) == "warn"
    assert status("gpu.mixed-kinds", *mixed, target=Target(model="m")) == "warn"
    assert status("gpu.mixed-kinds", *kinds(A100, A100), target=Target(model="m")) == "pass"
    assert status("gpu.mixed-kinds", *kinds(A100, A100, RTX4090), target=Target(gpus=(0, 1))) == "pass"


def test_a_little_more_memory_is_no_other_kind() -> None:
    cards = tuple(Gpu(index=n, name=A100, memory_total_bytes=80 * GIB + n * 2**20) for n in range(2))
    assert status("gpu.mixed-kinds", *cards, target=Target(gpus=(0, 1))) == "pass"


def test_vbios_is_compared_among_cards_of_one_name() -> None:
    both = Target(gpus=(0, 1))
    odd = (Gpu(index=0, name=A100, vbios="92.00.36"), Gpu(index=1, name=A100, vbios="92.00.45"))
    assert status("gpu.mixed-vbios", *odd, target=both) == "warn"
    other = (odd[0], Gpu(index=1, name=RTX4090, vbios="95.02.18"))
    assert status("gpu.mixed-vbios", *other, target=both) == "pass"
    assert status("gpu.mixed-vbios", *kinds(A100, A100), target=both) == "skip"


def sockets(*nodes: int, **facts: Any) -> tuple[Gpu, ...]:
    return tuple(
        Gpu(index=n, name=A100, peers=tuple(
            Peer(index=m, common_ancestor=30 if other == node else 50) for m, other in enumerate(nodes) if m != n
        ), **facts)
        for n, node in enumerate(nodes)
    )


def test_far_apart() -> None:
    four = sockets(0, 0, 1, 1)
    assert status("gpu.far-apart", *four, target=Target(gpus=(0, 1))) == "pass"
    (result,) = judge_check("gpu.far-apart", gpus=Gpus(gpus=four), target=Target(gpus=(1, 2)))
    assert (result.status, result.finding.params["closer"]) == ("warn", (0, 1))
    assert status("gpu.far-apart", *four, target=Target(gpus=(0, 1, 2))) == "info"
    assert status("gpu.far-apart", *four, target=Target(model="m")) == "info"
    switched = tuple(NvLink(link=n, active=True, remote_type="switch") for n in range(18))
    assert status("gpu.far-apart", *sockets(0, 1, nvlinks=switched), target=Target(model="m")) == "pass"
    by_node = (Gpu(index=0, name=A100, numa_node=0), Gpu(index=1, name=A100, numa_node=1))
    assert status("gpu.far-apart", *by_node, target=Target(gpus=(0, 1))) == "info"
    assert status("gpu.far-apart", *kinds(A100, A100), target=Target(gpus=(0, 1))) == "pass"


@pytest.mark.parametrize(
    ("name", "window", "target", "expected"),
    [
        (A100, 128 * GIB, Target(model="m"), "pass"),
        (A100, GIB // 4, Target(model="m"), "warn"),
        (A100, GIB // 4, Target(), "pass"),
        (A100, GIB // 4, Target(gpus=(0,)), "pass"),
        (RTX4090, GIB // 4, Target(model="m"), "skip"),
        (A100, NONE, Target(model="m"), "skip"),
    ],
)
def test_bar1(name: str, window: Any, target: Target, expected: str) -> None:
    cards = kinds(name, name, bar1_total_bytes=window)
    assert {found for _, found in run("gpu.bar1-small", *cards, target=target)} == {expected}


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ({"supported": True, "ok": True, "control_ok": True}, "pass"),
        ({"supported": True, "ok": False, "control_ok": True, "mismatches": 4096}, "fail"),
        ({"supported": True, "ok": False, "control_ok": True, "failure": "did not answer within 20 s"}, "fail"),
        ({"supported": True, "control_ok": True, "failure": "did not answer within 20 s"}, "fail"),
        ({"supported": True, "ok": False, "control_ok": False, "mismatches": 9}, "unknown"),
        ({"supported": False, "control_ok": True}, "info"),
        ({"failure": "GPU 0 is busy"}, "unknown"),
    ],
)
def test_peer_to_peer_tested(pair: dict[str, Any], expected: str) -> None:
    cuda = Cuda(pairs=(P2pPair(first=0, second=1, **pair),))
    assert run("gpu.p2p-broken", *kinds(A100, A100), cuda=cuda) == [("gpu:0", expected)]


def test_peer_to_peer_untested() -> None:
    assert status("gpu.p2p-broken", *kinds(A100, A100)) == "skip"
    refused = tuple(
        Gpu(index=n, name=RTX4090, peers=(Peer(index=1 - n, p2p_read="chipset-not-supported"),)) for n in range(2)
    )
    assert status("gpu.p2p-broken", *refused, target=Target(model="m")) == "info"
    assert status("gpu.p2p-broken", *refused) == "skip"


def test_peer_to_peer_by_the_iommus_word() -> None:
    event = KernelEvent(kind="iommu-fault", address="0000:1a:00", count=9, text="IO_PAGE_FAULT")
    log = KernelLog(source="kmsg", from_boot=True, events=(event,))
    cards = (Gpu(index=2, name=A100, pci_address="0000:1a:00.0"), Gpu(index=3, name=A100, pci_address="0000:2b:00.0"))
    assert run("gpu.p2p-broken", *cards, kernel_log=log) == [("gpu:2", "warn")]
