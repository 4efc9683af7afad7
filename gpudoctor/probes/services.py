"""The systemd units that GPU servers depend on, asked in one call of systemctl."""

from collections.abc import Sequence

from gpudoctor.facts.host import Services, Unit
from gpudoctor.probes.command import CommandMissing, run
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("services",)
OPTIONS: tuple[str, ...] = ()

UNITS = (
    "nvidia-persistenced.service", "nvidia-fabricmanager.service", "nvidia-imex.service",
    "nvidia-cdi-refresh.service", "nvidia-cdi-refresh.path", "docker.service", "containerd.service", "ollama.service",
    "unattended-upgrades.service", "apt-daily-upgrade.timer", "dnf-automatic.timer", "chronyd.service",
    "systemd-timesyncd.service",
)


def probe(out: Reporter, root: Root) -> None:
    """Fill ``services``, where systemd runs this very machine."""
    if not root.live:
        out.unavailable("services", "services belong to the running system, not to a tree of files", "not-applicable")
        return
    if not root.exists("/run/systemd/system"):
        out.unavailable("services", "systemd does not run this machine", "not-applicable")
        return
    try:
        code, output, errors = run(
            "systemctl", "show", "--no-pager", "--property=Id,LoadState,ActiveState,UnitFileState", "--", *UNITS
        )
    except CommandMissing:
        out.unavailable("services", "systemctl is not installed", "not-applicable")
        return
    units = parse_show(output, UNITS)
    if len(units) != len(UNITS):
        said = errors.strip().splitlines() or [f"it ended with code {code}"]
        out.unavailable("services", f"systemctl did not answer: {said[-1][:200]}", "error")
        return
    out.section("services", Services(units=units))


def parse_show(text: str, asked: Sequence[str]) -> tuple[Unit, ...]:
    """Read the blocks of ``systemctl show``, one for each unit asked, in that order.

    The name asked is kept: an alias (``chronyd.service``) answers under its unit's own name.
    """
    blocks = [block for block in text.strip().split("\n\n") if block.strip()]
    if len(blocks) != len(asked):
        return ()
    units: list[Unit] = []
    for name, block in zip(asked, blocks, strict=True):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        units.append(
            Unit(
                name=name,
                load=fields.get("LoadState", ""),
                active=fields.get("ActiveState", ""),
                enabled=fields.get("UnitFileState", ""),
            )
        )
    return tuple(units)
