"""Models in the Hugging Face cache, by repository id.

Layout: ``models--<owner>--<name>/snapshots/<revision>/`` with ``refs/main`` naming the revision.
"""

import re
from pathlib import Path

USUAL = ("~/.cache/huggingface/hub", "/root/.cache/huggingface/hub", "/data/hub")
"""Where the cache lies unless HF_HOME or HF_HUB_CACHE say otherwise."""
_ID = r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}"


def snapshot(repository: str, given: str | Path | None) -> Path | None:
    """The folder of this repository's newest cached revision, None when it is not cached."""
    if not re.fullmatch(_ID, repository):
        return None
    wanted = "models--" + repository.replace("/", "--")
    for place in [given] if given is not None else USUAL:
        root = Path(place).expanduser()
        try:
            folder = root / wanted
            if not folder.is_dir():
                folder = next((f for f in root.glob("models--*") if f.name.lower() == wanted.lower()), folder)
            found = _revision(folder)
        except OSError:
            continue
        if found is not None:
            return found
    return None


def _revision(folder: Path) -> Path | None:
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return None
    main = folder / "refs" / "main"
    if main.is_file():
        revision = main.read_text(encoding="ascii", errors="replace")[:100].strip()
        if re.fullmatch(r"[0-9a-f]{7,64}", revision) and (snapshots / revision).is_dir():
            return snapshots / revision
    kept = [f for f in snapshots.iterdir() if f.is_dir()]
    return max(kept, key=lambda f: f.stat().st_mtime) if kept else None
