"""``diagnose --container`` and ``--unit``: the logs that people would otherwise copy out themselves."""

import io
import re
import time
from datetime import datetime

from gpudoctor.cli.failure import Failure
from gpudoctor.evidence.paste import Paste

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:\\-]{0,254}")
_AGO = re.compile(r"(\d{1,6})\s?(s|min|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PATIENCE = {"container": 15.0, "unit": 60.0}


def moment(text: str) -> float:
    """Return ``--since`` in seconds since 1970: ``30min``, ``2h``, ``3d``, or a date with or without time.

    Raises:
        Failure: It is neither.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return time.time() - int(ago[1]) * _SECONDS[ago[2]]
    try:
        # A time without a zone is this machine's, as in journalctl.
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError, OSError):
        raise Failure(f"{text[:80]!r} is no time", "--since", "for example 2h, 3d or 2026-11-20T08:00") from None


def fetch(paste: Paste, containers: list[str], units: list[str], since: str | None, root: str = "/") -> None:
    """Read logs into the paste. One that could not be read becomes a piece with a problem.

    Raises:
        Failure: A name cannot be one, or the time is none.
    """
    from gpudoctor.probes.runner import ProbeSpec, run_probes

    start = moment(since) if since is not None else None
    asked = [("container", name) for name in containers] + [("unit", name) for name in units]
    for kind, name in asked:
        if _NAME.fullmatch(name) is None:
            raise Failure(f"{name[:80]!r} cannot be the name of a {kind}", f"--{kind}")
    specs = [
        ProbeSpec(
            name=f"{kind} {name}", modules=("service_log",), sections=("log",), patience=_PATIENCE[kind],
            options={kind: name, "since": start},
        )
        for kind, name in asked
    ]  # fmt: skip
    for answer in run_probes(specs, timeout=2 * max(_PATIENCE.values()), root=root):
        log = answer.sections.get("log")
        if log is None or "log" in answer.missing or not log.get("chunks"):
            reason = answer.missing.get("log", ("its log is empty", ""))[0]
            paste.problem(answer.name, reason)
        if log is None:
            continue
        text = "".join(str(chunk.get("text", "")) for chunk in log.get("chunks", []) if isinstance(chunk, dict))
        if text:
            paste.feed(io.BytesIO(text.encode("utf-8", "replace")), answer.name)
        if log.get("about"):
            paste.document(str(log["about"]), f"docker inspect {answer.name.partition(' ')[2]}")
        if log.get("error"):
            # Why a container did not even start stands only here.
            paste.feed(io.BytesIO(str(log["error"]).encode()), f"last error of {answer.name}")
        if log.get("cut"):
            paste.problem(answer.name, "its log is longer than 32 MiB; only the first of them were read: use --since")
