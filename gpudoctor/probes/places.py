"""Announcing folders before they are touched, so that one on a dead network volume costs that volume alone."""

from gpudoctor.facts.python_envs import LeftOut
from gpudoctor.probes.mounts import holding, read_mounts
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root


class Places:
    """The folders that a probe goes through. All that lie on one mounted volume are one item: they hang together.

    Args:
        out: Where the announcement goes.
        root: The file system.
        section: The section with a list of what was left out; None where none is kept, then only the probe's outcome
            names the volume.
    """

    def __init__(self, out: Reporter, root: Root, section: str | None = None) -> None:
        self._out = out
        self._section = section
        self._mounts = read_mounts(root)
        self._points = frozenset(mount.mount_point for mount in self._mounts)

    def is_volume(self, place: str) -> bool:
        """True where another volume is mounted: it must be entered by itself."""
        return place in self._points

    def enter(self, place: str) -> bool:
        """Announce a place; False when it, or another on its volume, hung before: it must not be touched."""
        mount = holding(self._mounts, place)
        on_volume = mount is not None and mount.mount_point != "/"
        item = f"the volume at {mount.mount_point}" if mount is not None and on_volume else f"what is in {place}"
        if self._out.left_out(item):
            return False
        placeholder = LeftOut(path=place, failure="") if self._section else None
        self._out.start(item, doing=f"looking into {place}", section=self._section,
                        field="left_out" if self._section else None, placeholder=placeholder)
        return True
