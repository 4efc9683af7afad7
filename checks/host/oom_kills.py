"""The kernel killed programs for want of memory since it started.

## Why it matters
The OOM killer ends the largest program, which on these machines is the model server. The container restarts, reads the
model again and is killed again; the engine's own log shows nothing but an end. Host memory is meant, not the GPU's.

## How to fix
The kernel's line says which limit was reached. A control group: raise the container's `--memory` or the service's
`MemoryMax=`. The whole machine: lower what is offloaded to the CPU, load with fewer ranks at once, or add memory. Swap
is a stop-gap.

## References
- https://docs.kernel.org/admin-guide/mm/concepts.html
- https://docs.docker.com/engine/containers/resource_constraints/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, passed, saw, step, warned
from gpudoctor.checking.finding import Step
from gpudoctor.facts.kernel_log import KernelEvent, KernelLog


@check()
def oom_kills(kernel_log: KernelLog) -> Iterator[Finding]:
    """Name the victims of this boot, those of a control group apart from the machine's."""
    events = kernel_log.of("oom-kill")
    reach = saw("kernel log", "since boot" if kernel_log.from_boot else "its recent part", kernel_log.source)
    grouped = tuple(event for event in events if _by_group(event))
    machine = tuple(event for event in events if not _by_group(event))
    if machine:
        yield warned(
            "host",
            "the kernel killed {victims} for want of memory, {n} times since boot",
            victims=_victims(machine),
            n=sum(event.count for event in machine),
            evidence=(*(saw("kernel line", event.text, kernel_log.source) for event in machine[:5]), reach),
            fix=(
                step("Look at what holds the memory.", "ps -eo pid,rss,comm --sort=-rss | head"),
                step("Offload less to the CPU, load with fewer ranks at once, or add memory."),
            ),
        )
    if grouped:
        yield warned(
            "host",
            "the kernel killed {victims} at the memory limit of a container or service, {n} times since boot",
            victims=_victims(grouped),
            n=sum(event.count for event in grouped),
            evidence=(*(saw("kernel line", event.text, kernel_log.source) for event in grouped[:5]), reach),
            fix=_raise_limit(),
        )
    if not events:
        yield passed("host", "the kernel killed nothing for want of memory", evidence=reach)


def _by_group(event: KernelEvent) -> bool:
    text = event.text.lower()
    return "memory cgroup" in text or "constraint_memcg" in text


def _victims(events: tuple[KernelEvent, ...]) -> tuple[str, ...]:
    return tuple(sorted({event.process or "a program" for event in events}))


def _raise_limit() -> tuple[Step, ...]:
    return (
        step("See which container carries which limit.", "docker stats --no-stream"),
        step("Raise the container's --memory (Compose: mem_limit) or the service's MemoryMax=, then restart it."),
    )
