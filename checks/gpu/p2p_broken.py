"""Direct exchange between GPUs fails or corrupts data.

## Why it matters
The driver offers peer-to-peer, and PCIe access control (ACS), a translating IOMMU or a patched driver break it: NCCL
hangs at start, or, worse, sums come out wrong and the model talks nonsense. GeForce cards have no peer-to-peer; NCCL
then goes through host memory, which is slow and correct.

## How to fix
Until it is mended: NCCL_P2P_DISABLE=1. Switch ACS off in the firmware and boot with `iommu=pt`; both lower the
isolation between devices, so not on a host that lends its GPUs to virtual machines.

## References
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
- https://github.com/vllm-project/vllm/issues/5458
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, known, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda import Cuda, P2pPair
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.judging.cards import by_address, wanted_together

TESTED = "deep probe: exchange with checked result"


@check()
def p2p_broken(
    gpus: Gpus, cuda: Cuda | Unavailable, kernel_log: KernelLog | Unavailable, target: Target
) -> Iterator[Finding]:
    """Judge tested pairs; without a test the IOMMU's faults in the kernel log, and what NVML says."""
    pairs = cuda.pairs if isinstance(cuda, Cuda) else ()
    for pair in pairs:
        yield _tested(pair)
    faulty = _iommu_faults(gpus, kernel_log)
    for gpu, text, count in faulty:
        yield warned(
            gpu.subject, "{name}: the IOMMU refused {count} of its accesses, as it does when peer-to-peer is broken",
            name=gpu.label, count=count, evidence=saw("line", text, "kernel log"),
            fix=(step("Boot with iommu=pt, which lowers the isolation between devices."),
                 step("Until then let NCCL do without.", "export NCCL_P2P_DISABLE=1"),
                 step("Test it.", "gpudoctor check --deep --only gpu.p2p-broken")),
        )
    if not pairs and not faulty:
        yield _untested(gpus, target)


def _tested(pair: P2pPair) -> Finding:
    subject, first, second = f"gpu:{pair.first}", pair.first, pair.second
    seen = (saw("peer-to-peer offered", pair.supported, "cuDeviceCanAccessPeer"),
            saw("exchange right", pair.ok, TESTED),
            saw("same exchange through host memory right", pair.control_ok, TESTED),
            saw("wrong bytes", pair.mismatches, TESTED))
    fix = (step("Until it is mended let NCCL do without.", "export NCCL_P2P_DISABLE=1"),
           step("Switch ACS off in the firmware and boot with iommu=pt; both lower the isolation between devices."))
    if pair.supported is False:
        return noted(subject, "GPUs {first} and {second} have no peer-to-peer; they exchange data through host memory",
                     first=first, second=second, evidence=seen)
    if pair.control_ok is False:
        return unknown(subject, "GPUs {first} and {second}: the exchange through host memory failed too",
                       first=first, second=second, evidence=seen)
    if pair.ok is False and pair.mismatches:
        return failed(subject, "GPUs {first} and {second}: peer-to-peer corrupts data", first=first, second=second,
                      evidence=seen, fix=fix)
    if pair.failure is not None and pair.supported:
        return failed(subject, "GPUs {first} and {second}: peer-to-peer does not work: {failure}", first=first,
                      second=second, failure=pair.failure, evidence=seen, fix=fix)
    if pair.ok is False:
        return failed(subject, "GPUs {first} and {second}: peer-to-peer does not work", first=first, second=second,
                      evidence=seen, fix=fix)
    if pair.ok:
        return passed(subject, "GPUs {first} and {second} exchange data directly, and right", first=first,
                      second=second, evidence=seen)
    return unknown(subject, "GPUs {first} and {second} were not tested: {reason}", first=first, second=second,
                   reason=pair.failure or "no result", evidence=seen)


def _iommu_faults(gpus: Gpus, log: KernelLog | Unavailable) -> list[tuple[Gpu, str, int]]:
    places = by_address(gpus)
    events = log.of("iommu-fault") if isinstance(log, KernelLog) else ()
    return [(places[e.address], e.text, e.count) for e in events if e.address in places]


def _untested(gpus: Gpus, target: Target) -> Finding:
    wanted = wanted_together(gpus, target)
    numbers = {gpu.index for gpu in wanted}
    refused = tuple(f"{gpu.index}-{peer.index}: {status}" for gpu in wanted for peer in gpu.peers
                    if gpu.index < peer.index and peer.index in numbers
                    and (status := known(peer.p2p_read)) not in (None, "ok"))
    if refused:
        return noted("host", "NVML offers no peer-to-peer between {refused}; data goes through host memory",
                     refused=refused, evidence=saw("peer-to-peer reads", refused, "nvmlDeviceGetP2PStatus"))
    return skipped("host", "an exchange between GPUs is only tested with --deep")
