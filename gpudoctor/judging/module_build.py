"""Why a module may be missing, as far as other pieces of a paste tell: Secure Boot, the kernel it was built for."""

from typing import NamedTuple

from gpudoctor.checking.finding import Evidence, Step, saw, step
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.snapshot import Snapshot


class OtherKernel(NamedTuple):
    """DKMS built the module, and not for the kernel that runs."""

    running: str
    built: tuple[str, ...]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """What was pasted of it."""
        return (saw("running kernel", self.running, "uname"), saw("module built for", self.built, "dkms status"))

    @property
    def fix(self) -> tuple[Step, ...]:
        """Build it for this kernel."""
        return (step("The module was built for {built}, and {running} runs: install its headers and build the module.",
                     "sudo apt install linux-headers-$(uname -r) && sudo dkms autoinstall && sudo modprobe nvidia",
                     built=self.built, running=self.running),)  # fmt: skip


def other_kernel(facts: Snapshot | None) -> OtherKernel | None:
    """Return the kernels of DKMS's builds where the running one is not among them; None where that is not told."""
    if facts is None or not isinstance(facts.driver, Driver) or not isinstance(facts.host, Host):
        return None
    running = facts.host.kernel_release
    built = tuple(sorted({build.kernel for build in facts.driver.dkms if isinstance(build.kernel, str)}))
    if not isinstance(running, str) or not built or running in built:
        return None
    return OtherKernel(running, built)


def refuted(facts: Snapshot | None) -> frozenset[str]:
    """Return the causes of a missing module that the paste rules out."""
    out = set()
    if facts is not None and isinstance(facts.driver, Driver):
        if facts.driver.secure_boot == "off":
            out.add("driver.blocked-by-secure-boot")
        running = facts.host.kernel_release if isinstance(facts.host, Host) else None
        if any(build.kernel == running for build in facts.driver.dkms if isinstance(running, str)):
            out.add("driver.missing-for-next-kernel")
    if facts is not None and isinstance(facts.pci, Pci) and all(d.driver != "nouveau" for d in facts.pci.nvidia_gpus):
        out.add("driver.nouveau-bound")
    return frozenset(out)
