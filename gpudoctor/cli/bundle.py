"""``gpudoctor bundle -o FILE``: one archive that installs gpudoctor where there is no network."""

import datetime
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpudoctor.cli.failure import Failure, say

if TYPE_CHECKING:
    from gpudoctor.bundle.contents import Manifest
    from gpudoctor.bundle.target import Target


def bundle(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Write the archive to this file (.tar.gz).")
    ],
    python: Annotated[
        list[str] | None, typer.Option(metavar="X.Y", help="A Python of the other machine; repeatable. [this one]")
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(metavar="TAG", help="Its platform, like manylinux_2_28_x86_64 or ..._aarch64. [this one's]"),
    ] = None,
    pyz: Annotated[
        bool, typer.Option("--pyz", help="One file that a bare Python runs, without installation (one --python).")
    ] = False,
    online: Annotated[bool, typer.Option("--online", help="Implied: the package index of pip is asked.")] = True,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> int:
    """Make an archive of gpudoctor, all it needs, install.sh, manuals and tables, for machines without network.

    It asks the package index that pip is set to ask, says so before, and no other network. The archive holds
    checksums of everything: on the other machine unpack it and run its install.sh.

    Example: gpudoctor bundle -o gpudoctor.tar.gz --python 3.10 --python 3.12 --platform manylinux_2_28_x86_64
    """
    from gpudoctor.bundle import BundleError

    _require_place(output)
    try:
        targets = _targets(python or [], platform)
        if pyz and len(targets) > 1:
            raise Failure("a single file is for one Python", "--pyz", "name one --python")
        with tempfile.TemporaryDirectory(prefix="gpudoctor-bundle-") as work:
            return _make(output, targets, Path(work), pyz, json)
    except BundleError as error:
        raise Failure(error.message, "bundle", error.hint) from None
    except OSError as error:
        raise Failure(f"cannot write: {error.strerror or error}", str(error.filename or output)) from None


def _require_place(output: Path) -> None:
    """Find out before anything is asked whether the file can be written."""
    if output.is_dir():
        raise Failure("it is a folder", str(output), "name a file, like gpudoctor.tar.gz")
    if not output.absolute().parent.is_dir():
        raise Failure("there is no such folder", str(output.parent))
    if output.exists() and not output.is_file():
        return
    try:
        with tempfile.TemporaryFile(dir=output.absolute().parent):
            pass
    except OSError as error:
        raise Failure(f"cannot write: {error.strerror or error}", str(output)) from None


def _targets(pythons: list[str], platform: str | None) -> "list[Target]":
    from gpudoctor.bundle.target import target, this_platform, this_python

    tag = platform or this_platform()
    return [target(version, tag) for version in dict.fromkeys(pythons or [this_python()])]


def _make(output: Path, targets: "list[Target]", work: Path, pyz: bool, json: bool) -> int:
    from gpudoctor.bundle.contents import archive, fill, manifest
    from gpudoctor.bundle.gather import gather, own_wheel
    from gpudoctor.facts.snapshot import write_atomically

    command, hosts = _announce()
    own = own_wheel(command, work)
    root = work / "bundle"
    (root / "wheelhouse").mkdir(parents=True)
    chosen = gather(command, own, targets, root / "wheelhouse", work, _tell)
    moment = _now()
    described = manifest(chosen, hosts, moment.date().isoformat())
    if pyz:
        from gpudoctor.bundle.pyz import build

        data = build(root / "wheelhouse", targets[0], described)
    else:
        fill(root, own, chosen, described)
        name = "-".join(("gpudoctor", described.version, "linux", targets[0].machine, *(t.short for t in targets)))
        data = archive(root, name, int(moment.timestamp()))
    write_atomically(output, data)
    if pyz:
        output.chmod(0o755)
    _report(output, data, described, "" if pyz else name, json)
    return 0


def _announce() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find pip, and say whom it will ask before it asks."""
    from gpudoctor.bundle import BundleError
    from gpudoctor.probes.pip import PipFailure, find_pip, places

    command = find_pip()
    if command is None:
        raise BundleError("there is no pip, which fetches the wheels", "install it: python3-pip in most distributions")
    try:
        where = places(command)
    except PipFailure as failure:
        raise BundleError(str(failure)) from None
    asked = ", ".join(where.hosts) or "no host"
    local = ", ".join(where.local)
    _tell(f"asks {asked}, as pip is set; reads {local}" if local else f"asks {asked}, as pip is set")
    return command, where.hosts


def _tell(text: str) -> None:
    from gpudoctor.reports.retold import retold
    from gpudoctor.reports.words import harmless

    sys.stderr.write(f"bundle: {harmless(retold(text))}\n")
    sys.stderr.flush()


def _now() -> datetime.datetime:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdigit() and int(epoch) < 1 << 32:
        return datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
    return datetime.datetime.now(datetime.timezone.utc)


def _report(output: Path, data: bytes, described: "Manifest", folder: str, json: bool) -> None:
    from gpudoctor.reports.words import harmless, told

    digest = hashlib.sha256(data).hexdigest()
    if json:
        import msgspec

        from gpudoctor.reports.json_report import encode

        document = {**msgspec.to_builtins(described), "file": str(output), "bytes": len(data), "sha256": digest}
        say(encode(document) + "\n")
        return
    file = harmless(str(output))
    pythons = ", ".join(described.pythons)
    known = {"file": file, "version": described.version, "pythons": pythons, "needs": described.needs}
    lines = [told("{file}: gpudoctor {version} for Python {pythons}, {needs}", known)]
    lines.append(f"{len(data) / 1e6:.1f} MB, sha256 {digest}")
    alone = f"python{described.pythons[0]} {output.name} check"
    start = f"tar xzf {output.name} && {folder}/install.sh" if folder else alone
    lines.append(told("On the other machine: {command}", {"command": start}))
    say("\n".join(lines) + "\n")
