"""Compare the tables with the package index: ``python -m tools.refresh_matrices [PACKAGE ...]``.

What an index tells of itself is derived again: releases, their Python range and wheel tags from the list of files,
pins of PyTorch and CUDA's libraries from the METADATA of a wheel. No wheel is downloaded: METADATA comes from the index
(PEP 658), or out of the wheel by range requests of some 100 kB. The difference is shown, never written: a row also
holds what only the files or documents tell (architectures, drivers), so a person edits it.
"""

import argparse
import html.parser
import io
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gpudoctor.matrices import pytorch, sglang, vllm
from gpudoctor.matrices.versions import release

INDEX = "https://pypi.org/simple"
PACKAGES = ("torch", "vllm", "sglang")
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_BLOCK = 64 * 1024
_MOST_BYTES = 64 * 1024 * 1024
_TIMEOUT = 60


class Unreachable(Exception):
    """The index did not answer as an index."""


class File(NamedTuple):
    """One file of a package on the index."""

    name: str
    url: str
    requires_python: str | None
    metadata: bool


class Difference(NamedTuple):
    """One place where table and index differ; ``table`` None for what only the index has."""

    package: str
    version: str
    what: str
    table: str | None
    found: str | None

    def __str__(self) -> str:
        """As a line of a diff."""
        return f"{self.package} {self.version}: {self.what}: {self.table or '-'} -> {self.found or '-'}"


def files(package: str, index: str = INDEX) -> list[File]:
    """Return every file of a package: the JSON of PEP 691, or the older HTML."""
    address = f"{index.rstrip('/')}/{package}/"
    request = urllib.request.Request(address, headers={"Accept": _ACCEPT})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            text = answer.read(_MOST_BYTES).decode("utf-8", "replace")
            is_json = "json" in (answer.headers.get("Content-Type") or "")
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Unreachable(f"{address}: {error}") from None
    return list(_from_json(text) if is_json else _from_html(text, address))


def _from_json(text: str) -> Iterator[File]:
    for each in json.loads(text).get("files", ()):
        told = bool(each.get("core-metadata") or each.get("dist-info-metadata"))
        yield File(each["filename"], each["url"], each.get("requires-python"), told)


def _from_html(text: str, address: str) -> Iterator[File]:
    reader = _Links()
    reader.feed(text)
    for given in reader.found:
        url = urllib.parse.urljoin(address, given.get("href") or "").partition("#")[0]
        told = "data-core-metadata" in given or "data-dist-info-metadata" in given
        yield File(urllib.parse.unquote(url.rpartition("/")[2]), url, given.get("data-requires-python"), told)


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(dict(attrs))


class RangeFile(io.RawIOBase):
    """A file at an address of which only the parts asked for are fetched."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url, self._at = url, 0
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            self._size = int(answer.headers["Content-Length"])

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always: by another range."""
        return True

    def tell(self) -> int:
        """Return the place that is read next."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move that place."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fetch one range."""
        count = min(len(buffer), self._size - self._at)
        if count <= 0:
            return 0
        end = self._at + count - 1
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={self._at}-{end}"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            if answer.status != 206:
                raise OSError("the index serves no parts of files")
            data = answer.read(count)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def metadata(file: File) -> str | None:
    """Return the METADATA of a wheel, None where it cannot be had without the whole wheel."""
    try:
        if file.metadata:
            with urllib.request.urlopen(f"{file.url}.metadata", timeout=_TIMEOUT) as answer:
                text: str = answer.read(_MOST_BYTES).decode("utf-8", "replace")
                return text
        with zipfile.ZipFile(io.BufferedReader(RangeFile(file.url), _BLOCK)) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
            return wheel.read(name).decode("utf-8", "replace")
    except (urllib.error.URLError, OSError, KeyError, StopIteration, ValueError, zipfile.BadZipFile):
        return None


def pins(text: str) -> dict[str, str]:
    """Return the exact requirements of a METADATA, for Linux and without extras: ``{"torch": "2.14.0"}``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = re.match(r"Requires-Dist: ([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*\(?==([^;,) ]+)\)?\s*(;.*)?$", line)
        if match and "extra ==" not in (match[3] or "") and "aarch64" not in (match[3] or ""):
            found.setdefault(match[1].lower().replace("_", "-"), match[2])
    return found


def wheels(found: Iterable[File], package: str) -> dict[str, list[File]]:
    """Return the Linux x86-64 and pure wheels by version, pre-releases left out."""
    by_version: dict[str, list[File]] = {}
    for each in found:
        match = re.match(rf"{re.escape(package)}-([^-]+)-.*\.whl$", each.name.lower())
        parsed = release(match[1]) if match else None
        fits = each.name.endswith("any.whl") or ("linux" in each.name and "x86_64" in each.name)
        if match and parsed is not None and not parsed.is_prerelease and fits:
            by_version.setdefault(match[1], []).append(each)
    return by_version


def compare(package: str, index: str, read: int) -> list[Difference]:
    """Return the differences of one package; METADATA is read of the ``read`` newest releases in the table."""
    on_index = wheels(files(package, index), package)
    table = _table(package)
    found = [Difference(package, version, "release", None, "new") for version in _newer(on_index, table)]
    for version, row in table.items():
        have = on_index.get(version)
        if have is None:
            found.append(Difference(package, version, "release", "known", "gone"))
            continue
        python = have[0].requires_python
        if python is not None and _spec(python) != _spec(row["requires_python"] or ""):
            found.append(Difference(package, version, "requires_python", row["requires_python"], python))
    for version in list(table)[-read:] if read else []:
        text = metadata(on_index[version][0]) if version in on_index else None
        told = pins(text) if text is not None else {}
        for what, wanted in table[version].items():
            source = _PIN.get(what)
            value = next((told[name] for name in source or () if name in told), None)
            if wanted is not None and value is not None and wanted != value:
                found.append(Difference(package, version, what, wanted, value))
    return found


#: Column of a table -> distributions whose pin it is.
_PIN = {
    "torch": ("torch",),
    "triton": ("triton",),
    "cudnn": ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "nvidia-cudnn-cu11"),
    "nccl": ("nvidia-nccl-cu13", "nvidia-nccl-cu12", "nvidia-nccl-cu11"),
    "flashinfer": ("flashinfer-python",),
    "kernel": ("sglang-kernel", "sgl-kernel"),
}


def _table(package: str) -> dict[str, dict[str, str | None]]:
    rows: Iterable[Any] = {"torch": pytorch.releases, "vllm": vllm.releases, "sglang": sglang.releases}[package]()
    columns = ("requires_python", *(name for name in _PIN if name != package))
    return {row.version: {name: getattr(row, name, None) for name in columns} for row in rows}


def _newer(on_index: dict[str, list[File]], table: dict[str, dict[str, str | None]]) -> list[str]:
    newest = release(list(table)[-1])
    parsed = {version: release(version) for version in on_index}
    return sorted((v for v, p in parsed.items() if p is not None and newest is not None and p > newest),
                  key=lambda v: parsed[v] or newest)  # type: ignore[arg-type,return-value]


def _spec(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def main(arguments: list[str] | None = None) -> int:
    """Show the differences; 0 without any, 1 with some, 2 when the index cannot be asked."""
    parser = argparse.ArgumentParser("python -m tools.refresh_matrices", description="Compare tables and index.")
    parser.add_argument("package", nargs="*", help=f"of {', '.join(PACKAGES)}; all without any")
    parser.add_argument("--index", default=INDEX, help="address of a simple index (PEP 503 or 691)")
    parser.add_argument("--read", type=int, default=3, metavar="N", help="read METADATA of the N newest releases known")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.package if name not in PACKAGES]
    if unknown:
        parser.error(f"no table comes from {unknown[0]}")
    differences: list[Difference] = []
    for package in chosen.package or PACKAGES:
        try:
            differences += compare(package, chosen.index, chosen.read)
        except Unreachable as error:
            sys.stderr.write(f"refresh_matrices: {error}\n")
            return 2
    for each in differences:
        sys.stdout.write(f"{each}\n")
    sys.stdout.write(f"{len(differences)} differences\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
