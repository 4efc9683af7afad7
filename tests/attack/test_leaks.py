"""What a redacted record must not hold, and what it must keep to be judged alike."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.facts.redact import redact
from gpudoctor.facts.snapshot import Snapshot, decode, encode

NAMES = ("jdoe", "node17", "corp.example", "10.20.30.40", "2001:db8::17", "fe80::1ff:fe23:4567:890a", "filer3",
         "00:1b:63:84:45:e6", "1324220012345", "a1b2c3d4-e5f6")
LINE = ("node17.corp.example kernel: jdoe from 10.20.30.40 and 2001:db8::17 via fe80::1ff:fe23:4567:890a, "
        "00:1b:63:84:45:e6, GPU-a1b2c3d4-e5f6-1111-2222-333344445555 at 12:34:56 (PCI:0000:1a:00): 79")


def raw(checkout: Path, name: str = "h100x8-gpu-off-the-bus") -> dict[str, Any]:
    data = (checkout / "fixtures" / name / "snapshot.json").read_bytes()
    document: dict[str, Any] = msgspec.json.decode(data)
    return document


def redacted(document: dict[str, Any]) -> Snapshot:
    return redact(decode(msgspec.json.encode(document), "made"))


def test_names_and_addresses_are_gone_wherever_they_stand(checkout: Path) -> None:
    document = raw(checkout)
    document["host"] |= {"hostname": "node17", "user_name": "jdoe"}
    document["kernel_log"]["events"][0]["text"] = LINE
    document["gpus"]["gpus"][0] |= {"serial": "1324220012345"}
    volume = {**document["storage"]["volumes"][0]}
    document["storage"]["volumes"] += [
        {**volume, "device": "filer3.corp.example:/export", "mount_point": "/data/jdoe", "path": "/data/jdoe/models"},
        {**volume, "device": "//filer3/share", "mount_point": "/home/jdoe/models", "path": "/home/jdoe/models"},
    ]
    text = encode(redacted(document)).decode()
    assert [name for name in NAMES if name in text] == []
    assert "12:34:56" in text
    assert "PCI:0000:1a:00" in text


@pytest.mark.parametrize("name", ["ubuntu", "compute", "nvme", "ext4", "open", "error", "crashed", "nvidia", "journal"])
def test_a_name_that_is_one_of_our_words_changes_no_fact(checkout: Path, name: str) -> None:
    document = raw(checkout)
    document["host"] |= {"hostname": name, "user_name": name}
    kept = redacted(document)
    plain = redacted(raw(checkout))
    one, other = (msgspec.to_builtins(s) for s in (kept, plain))
    for section in ("host", "storage", "gpus", "driver", "pci"):
        for text in _texts(other[section]):
            assert text in _texts(one[section]) or "/" in text or " " in text, (section, text)


def test_the_kind_of_container_stays(checkout: Path) -> None:
    document = raw(checkout)
    document["host"]["container"] = "docker"
    assert redacted(document).host.container == "docker"  # type: ignore[union-attr]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [t for inner in value.values() for t in _texts(inner)]
    if isinstance(value, list | tuple):
        return [t for inner in value for t in _texts(inner)]
    return [value] if isinstance(value, str) else []
