"""Since when an engine has a class for a model architecture, as far as its releases were read."""

from collections.abc import Iterable

import msgspec

from gpudoctor.matrices.table import Confidence
from gpudoctor.matrices.versions import same_release, within


class ModelGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Architectures (`GptOssForCausalLM`) that `since` is the first release read to know.

    `last_without` is the last one read before it, None where it is the release just before; what lies between is not
    known. `or_earlier`: already in the oldest release read.
    """

    since: str
    architectures: tuple[str, ...]
    confidence: Confidence
    source: str
    last_without: str | None = None
    or_earlier: bool = False

    def has(self, version: str) -> bool | None:
        """Tell whether a release is new enough for these architectures, None between two releases read."""
        if within(version, self.since, None):
            return True
        if self.or_earlier:
            return None
        if self.last_without is None or within(version, None, self.last_without):
            return False
        return False if same_release(version, self.last_without) else None


class RemovedModels(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Architectures that left an engine, and the last release with them."""

    last: str
    architectures: tuple[str, ...]
    confidence: Confidence
    source: str

    def has(self, version: str) -> bool:
        """Tell whether a release still had them, or came before them."""
        return within(version, None, self.last) or same_release(version, self.last)


def group_of(architecture: str, groups: Iterable[ModelGroup]) -> ModelGroup | None:
    """Return the group an architecture is in, None when no release read knows it."""
    return next((group for group in groups if architecture in group.architectures), None)
