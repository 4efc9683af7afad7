"""The module file that would be loaded, asked of modinfo: it knows depmod's order and every compression."""

import os
import re

from gpudoctor.facts.driver import ModuleFile, ModuleInfo
from gpudoctor.probes import kernel_modules
from gpudoctor.probes.command import CommandMissing, run
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("module_file",)
OPTIONS: tuple[str, ...] = ()

_FIELD = re.compile(r"^(filename|version|license|signer): *(.*?) *$", re.MULTILINE)
_RELEASE = re.compile(r"[\w.+~-]{1,128}")


def probe(out: Reporter, root: Root) -> None:
    """Fill ``module_file`` for the running kernel."""
    release = root.read("/proc/sys/kernel/osrelease", 200) or ""
    if not _RELEASE.fullmatch(release):
        out.unavailable("module_file", "the running kernel's release is not known", "error")
        return
    here = [module.path for module in kernel_modules.read_modules(root) if module.kernel == release]
    if not here and not root.exists(f"/lib/modules/{release}"):
        out.section("module_file", ModuleFile(info=None))
        return
    try:
        out.section("module_file", ModuleFile(info=_ask(root, release, here)))
    except CommandMissing:
        if here:
            out.unavailable("module_file", "modinfo (kmod) is not installed", "error")
        else:
            out.section("module_file", ModuleFile(info=None))


def _ask(root: Root, release: str, here: list[str]) -> ModuleInfo | None:
    base = () if root.live else ("-b", root.prefix)
    # Debian loads nvidia-current.ko under the name nvidia by modprobe's configuration, which modinfo does not read.
    files = [str(root.path(path)) for path in here[:4]]
    for asked in (["nvidia", *files] if _by_name(root, release) else files):
        code, output, _ = run("modinfo", *base, "-k", release, asked, limit=4 << 20)
        if code == 0 and (info := parse_modinfo(output, root.prefix)) is not None:
            return info
    return None


def _by_name(root: Root, release: str) -> bool:
    """Tell whether modinfo, which follows absolute links out of a prefix, would stay inside it."""
    prefix = os.path.realpath(root.prefix)
    return root.live or os.path.realpath(f"{prefix}/lib/modules/{release}").startswith(f"{prefix}/")


def parse_modinfo(text: str, prefix: str = "/") -> ModuleInfo | None:
    """Read modinfo's output; None when it names no file. ``prefix`` is taken off the file's name."""
    fields = {match[1]: match[2] for match in _FIELD.finditer(text)}
    path = fields.get("filename", "")
    if not path.startswith("/"):
        return None
    return ModuleInfo(
        path=path[len(prefix) :] if prefix != "/" and path.startswith(prefix + "/") else path,
        version=fields.get("version", ""),
        license=fields.get("license", ""),
        signer=fields.get("signer", ""),
    )
