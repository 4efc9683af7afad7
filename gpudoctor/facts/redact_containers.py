"""Taking users' own words out of what is recorded of containers: their names, images, projects and networks."""

import re
from collections.abc import Callable
from typing import Any

_NameOf = Callable[[str, str], str]

#: Whose images everybody may know of; which engine an image holds is part of the judgement.
_PUBLISHERS = (
    "vllm/", "ollama/", "lmsysorg/", "nvidia/", "pytorch/", "rocm/", "huggingface/", "ggml-org/", "library/",
    "open-webui/", "intel/", "prom/", "grafana/", "localai/", "kserve/", "rayproject/", "triton-inference-server/",
)
_REGISTRIES = ("docker.io/", "index.docker.io/", "ghcr.io/", "nvcr.io/", "quay.io/", "registry-1.docker.io/",
               "public.ecr.aws/", "mcr.microsoft.com/", "gcr.io/")
_OFFICIAL = frozenset({"ubuntu", "debian", "alpine", "busybox", "python", "nginx", "redis", "postgres", "traefik",
                       "caddy", "haproxy", "registry", "rockylinux", "fedora", "node", "golang", "mysql", "mariadb"})
_VERSION = re.compile(r":(latest|v?\d+(?:\.\d+)*)(?![\w.])")
_MODES = frozenset({"", "host", "none", "bridge", "default", "private", "shareable", "slirp4netns", "pasta"})
_LABEL = "com.docker.compose."


def hide_containers(raw: dict[str, Any], name: _NameOf) -> None:
    """Replace the words in a snapshot's plain form.

    Args:
        raw: The snapshot as dictionaries and lists; it is changed.
        name: Gives the same stand-in to the same value of one kind.
    """
    live = raw.get("live")
    if isinstance(live, dict) and "image" in live:
        live["image"] = image(live["image"], name)
        live["image_from"] = live["image_from"] and name("container", live["image_from"])
        for look in live["containers"]:
            look["name"] = name("container", look["name"])
    section = raw.get("containers")
    for each in section.get("containers", ()) if isinstance(section, dict) else ():
        given = each["name"]
        each["name"] = name("container", given)
        for run in raw.get("probes", ()):
            run["outcome"] = run["outcome"].replace(f"container {given}:", f"container {each['name']}:")
        each["image"] = image(each["image"], name)
        for field in ("network_mode", "ipc_mode"):
            each[field] = _mode(each[field], name)
        for label in ("project", "service"):
            if value := each["labels"].get(_LABEL + label):
                each["labels"][_LABEL + label] = name(label, value)
        facts = each["image_facts"]
        if "tags" in facts:
            facts["tags"] = [image(tag, name) for tag in facts["tags"]]


def image(reference: str, name: _NameOf) -> str:
    """Return an image's reference as it is when its publisher is known, else a stand-in with its version."""
    plain = next((reference[len(each) :] for each in _REGISTRIES if reference.startswith(each)), reference)
    repository = plain.partition("@")[0].partition(":")[0]
    if not reference or plain.startswith(_PUBLISHERS) or repository in _OFFICIAL:
        return reference
    version = _VERSION.search(plain)
    return name("image", reference) + (f":{version[1]}" if version else "")


def _mode(value: str, name: _NameOf) -> str:
    if value.startswith("container:"):
        return f"container:{name('container', value.removeprefix('container:'))}"
    return value if value in _MODES else name("network", value)
