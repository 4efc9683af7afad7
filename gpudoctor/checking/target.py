"""What the operator wants of this machine: engines, model, GPUs, stage. Given by flags, never probed."""

import re
from typing import Literal

import msgspec

Stage = Literal["pre-install", "pre-launch"]


class EngineWish(msgspec.Struct, frozen=True):
    """``--for``: an engine with or without version, or a container image.

    ``version`` is None when any will do; ``image`` is set when a reference was given.
    """

    name: str
    version: str | None = None
    image: str | None = None

    @property
    def label(self) -> str:
        """As the user would write it."""
        return self.image or (f"{self.name}=={self.version}" if self.version else self.name)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's wishes. ``gpus`` None means all; ``expect_gpus`` None means at least one.

    ``users``: how many ask at the same time, None when nobody said. ``sender``: the host that the engine must be
    reached from, an address or a name.
    """

    stage: Stage = "pre-launch"
    engines: tuple[EngineWish, ...] = ()
    model: str | None = None
    gpus: tuple[int, ...] | None = None
    expect_gpus: int | None = None
    psu_watts: int | None = None
    ports: tuple[int, ...] = ()
    users: int | None = None
    sender: str | None = None
    deep: bool = False
    use_busy: bool = False
    live: bool = False

    @property
    def installing(self) -> bool:
        """True in the stage before drivers and engines are there."""
        return self.stage == "pre-install"

    @property
    def wants_gpu(self) -> bool:
        """False only when the operator said that this machine has none."""
        return self.expect_gpus != 0

    def chosen(self, index: int) -> bool:
        """True if the operator means to use this GPU."""
        return self.gpus is None or index in self.gpus


_ENGINES = {"llamacpp": "llama.cpp", "llama-cpp": "llama.cpp", "text-generation-inference": "tgi", "pytorch": "torch"}
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+!-]*")


def parse_engine(text: str) -> EngineWish:
    """Read ``vllm==0.33.0``, ``ollama`` or an image reference such as ``vllm/vllm-openai:v0.33.0``.

    Raises:
        ValueError: It is none of these; the message says what was expected.
    """
    text = text.strip()
    name, equals, version = text.partition("==")
    if "/" in text or ":" in text:
        last, _, tag = text.partition("@")[0].rpartition("/")[2].lower().partition(":")
        known = ("vllm", "sglang", "ollama", "text-generation-inference", "llama.cpp", "pytorch")
        found = next((k for k in known if k in last), last)
        match = _VERSION.match(tag.removeprefix("v"))
        return EngineWish(_ENGINES.get(found, found), match.group() if match else None, text)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", name) or (equals and not _VERSION.fullmatch(version)):
        raise ValueError(f"{text!r} is neither ENGINE, ENGINE==VERSION nor an image reference")
    name = name.lower()
    return EngineWish(_ENGINES.get(name, name), version or None)
