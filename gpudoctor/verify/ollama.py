"""Ollama's store: blobs are named by their SHA-256, manifests name the blobs that each model is made of.

Layout: ``manifests/<registry>/<owner>/<model>/<tag>`` (JSON) and ``blobs/sha256-<digest>``; a pull in progress keeps
``sha256-<digest>-partial`` and ``-partial-<n>`` there.
"""

import os
import re
from pathlib import Path

from gpudoctor.fit.model import Unusable
from gpudoctor.fit.sources.strict_json import read_json
from gpudoctor.verify.jobs import Expected, Plan

BLOB = re.compile(r"sha256-([0-9a-f]{64})")
_PARTIAL = re.compile(r"sha256-[0-9a-f]{64}-partial(?:-\d+)?")
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_DEPTH = 6
_LAYERS = 4096


def is_store(folders: set[str], folder: str) -> bool:
    """True for a folder that holds Ollama's blobs."""
    if "blobs" not in folders:
        return False
    try:
        with os.scandir(os.path.join(folder, "blobs")) as entries:
            return any(_PARTIAL.fullmatch(e.name) or BLOB.fullmatch(e.name) for e in entries)
    except OSError:
        return "manifests" in folders


def add_store(plan: Plan, folder: str) -> None:
    """Add every blob, and what the manifests miss."""
    blobs = os.path.join(folder, "blobs")
    try:
        names = sorted(os.listdir(blobs))
    except OSError as error:
        plan.note(blobs, "unreadable", error.strerror or str(error), kind="Ollama store", model=True)
        return
    for name in names:
        path = os.path.join(blobs, name)
        if BLOB.fullmatch(name):
            add_blob(plan, path)
        elif _PARTIAL.fullmatch(name):
            plan.note(path, "leftover", kind="Ollama blob", model=True)
        else:
            plan.job(path, "Ollama blob", model=True)
    _manifests(plan, folder, os.path.join(folder, "manifests"), 0)


def add_blob(plan: Plan, path: str) -> None:
    """Add one blob, whose name says what it should be."""
    job = plan.job(path, "Ollama blob", model=True)
    job.expected.append(Expected("sha256", path[-64:], "its name"))


def _manifests(plan: Plan, store: str, folder: str, depth: int) -> None:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda e: e.name)
    except FileNotFoundError:
        return
    except OSError as error:
        plan.note(folder, "unreadable", error.strerror or str(error), kind="Ollama manifest", model=True)
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if depth < _DEPTH:
                _manifests(plan, store, entry.path, depth + 1)
        elif not os.path.isfile(entry.path):
            plan.note(entry.path, "unreadable", "it is no regular file", kind="Ollama manifest", model=True)
        elif not entry.name.startswith("."):
            _manifest(plan, store, entry.path)


def _manifest(plan: Plan, store: str, path: str) -> None:
    tag = "/".join(path.split(os.sep)[-2:])
    try:
        found = read_json(Path(path))
    except Unusable as error:
        outcome = "unreadable" if "cannot be read" in error.message else "broken"
        plan.note(path, outcome, error.message, kind="Ollama manifest", model=True)  # type: ignore[arg-type]
        return
    layers = found.get("layers")
    parts = [found.get("config"), *(layers if isinstance(layers, list) else [None])][:_LAYERS]
    for part in parts:
        digest = _DIGEST.fullmatch(str(part.get("digest", ""))) if isinstance(part, dict) else None
        size = part.get("size") if isinstance(part, dict) else None
        if digest is None or not isinstance(size, int) or size < 0:
            plan.note(path, "broken", "it names a layer without digest or size", kind="Ollama manifest", model=True)
            return
        blob = os.path.join(store, "blobs", f"sha256-{digest[1]}")
        job = plan.job(blob, "Ollama blob", model=True)
        if not job.expected:
            job.expected.append(Expected("sha256", digest[1], "its name"))
        job.size, job.size_by = size, f"the manifest of {tag}"
