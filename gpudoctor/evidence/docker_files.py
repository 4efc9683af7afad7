"""Files of Docker and of NVIDIA's toolkit that people paste: daemon.json, config.toml, CDI specifications."""

import re
from typing import Any

from gpudoctor.evidence.blocks import Kind, Reading, Unread, While, too_deep
from gpudoctor.facts.base import NOT_RECORDED
from gpudoctor.facts.container_toolkit import CdiSpec, ContainerToolkit
from gpudoctor.probes.docker_answer import Answer, Unexpected
from gpudoctor.probes.docker_files import parse_daemon_file, parse_toolkit_config

PASTED = "paste"
_DRIVER_LIBRARY = re.compile(r"lib(?:cuda|nvidia-ml)\.so\.(\d{3}[\d.]{1,12})$")
_MAX_EDITS = 4096
_MAX_YAML_CHARS = 1 << 18


def daemon(text: str) -> Reading:
    """Read daemon.json; one that dockerd would refuse carries the failure."""
    file = parse_daemon_file("daemon.json", text.encode("utf-8", "replace"), NOT_RECORDED)
    return Reading(
        name="daemon.json",
        sections={"container_toolkit": ContainerToolkit(daemon_file=file)},
        context=frozenset({"container"}),
        problem=f"dockerd refuses this daemon.json: {file.failure}" if file.failure else None,
    )


def cdi(told: Any, line: int) -> Reading | None:
    """Read a CDI specification, of JSON or of YAML.

    Raises:
        Unread: Something in it is of another type than CDI's schema says.
    """
    try:
        answer = Answer(told)
        devices = answer.parts("devices", _MAX_EDITS)
        edits = [answer.part("containerEdits"), *(each.part("containerEdits") for each in devices)]
        paths = [mount.text("hostPath") for edit in edits for mount in edit.parts("mounts", _MAX_EDITS)]
        versions = [found[1] for path in paths if (found := _DRIVER_LIBRARY.search(path)) is not None]
        spec = CdiSpec(
            path=PASTED,
            version=answer.text("cdiVersion")[:64] or None,
            kind=answer.text("kind")[:256] or None,
            devices=tuple(each.text("name")[:256] for each in devices),
            library_versions=tuple(dict.fromkeys(versions))[:64],
        )
    except Unexpected as error:
        raise Unread(f"CDI specification: {error}") from None
    return Reading(
        sections={"container_toolkit": ContainerToolkit(cdi_specs=(spec,))}, context=frozenset({"container"})
    )


def cdi_yaml(text: str, line: int, file: str) -> Reading | None:
    """Read the YAML form.

    Raises:
        Unread: It breaks off or is damaged.
    """
    if not re.search(r"^kind:", text, re.MULTILINE):
        return None
    if len(text) > _MAX_YAML_CHARS or too_deep(text):
        raise Unread("this is larger or deeper than any CDI specification; it was not read")
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if re.search(r"[&*][\w-]+\s*$", text, re.MULTILINE):
        raise Unread("the CDI specification has YAML anchors, which nvidia-ctk does not write; it was not read")
    try:
        told = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError):
        raise Unread("the YAML of the CDI specification breaks off or is damaged") from None
    if isinstance(told, dict):
        told["cdiVersion"] = str(told.get("cdiVersion", ""))
        for device in told.get("devices") or [] if isinstance(told.get("devices"), list) else []:
            if isinstance(device, dict):
                device["name"] = str(device.get("name", ""))
    return cdi(told, line)


def toolkit_config(text: str, line: int, file: str) -> Reading | None:
    """Read /etc/nvidia-container-runtime/config.toml; one that is no TOML carries the failure."""
    if "[nvidia-container-" not in text:
        return None
    found = parse_toolkit_config(text.encode("utf-8", "replace"), NOT_RECORDED)
    return Reading(
        sections={"container_toolkit": ContainerToolkit(config=found)},
        context=frozenset({"container"}),
        problem=f"the toolkit refuses this config.toml: {found.failure}" if found.failure else None,
    )


def toolkit_version(text: str, line: int, file: str) -> Reading | None:
    """Read ``nvidia-ctk --version`` and ``nvidia-container-cli --version``."""
    toolkit = re.search(r"(?:NVIDIA Container Toolkit CLI version|nvidia-ctk version) v?(\d[\w.\-]{1,30})", text)
    library = re.search(r"^\s*(?:cli-version|lib-version): (\d[\w.\-]{1,30})", text, re.MULTILINE)
    found = ContainerToolkit(
        version=toolkit[1] if toolkit else NOT_RECORDED,
        libnvidia_container_version=library[1] if library else NOT_RECORDED,
    )
    context = frozenset({"container", "toolkit-installed"} if toolkit else {"container"})
    return Reading(sections={"container_toolkit": found}, context=context)


KINDS = (
    Kind(
        name="cdi-specification",
        begins=r"cdiVersion:\s",
        extent=lambda: While(re.compile(r"\s*$|\s+\S|-\s|(?:cdiVersion|kind|devices|containerEdits|annotations):")),
        read=cdi_yaml,
        words=("cdiversion",),
        most=8,
    ),
    Kind(
        name="toolkit-config",
        begins=r"#?\s?(?:accept-nvidia-visible-devices-\S{1,40}|disable-require|supported-driver-capabilities|swarm-resource)"
        r"\s*=|\[nvidia-container-(?:cli|runtime)",
        extent=lambda: While(re.compile(r"\s*$|\s*#|\s*\[[\w.\-]{1,80}\]|\s*[\w\-]{1,80}\s*=|\s*[\"\]]")),
        read=toolkit_config,
    ),
    Kind(
        name="nvidia-ctk",
        begins=r"(?:NVIDIA Container Toolkit CLI version|nvidia-ctk version|cli-version:|lib-version:) ?v?\d",
        extent=lambda: While(re.compile(r"NVIDIA Container Tool|nvidia-ctk|cli-|lib-version|commit:|build")),
        read=toolkit_version,
    ),
)
