"""Read a configuration without trusting it: every number bounded, every list of a sane length."""

from collections.abc import Mapping
from typing import Any

from gpudoctor.fit.model import Unusable

_LARGEST = 1 << 31
_LAYERS = 4096
_DRAFTS = 64


class Facts:
    """A config.json (or the part of it that describes the text model) with checked access.

    Raises `Unusable` for a value of the wrong type or out of any sensible range; `where` names the file.
    """

    def __init__(self, config: Mapping[str, Any], where: str | None = None) -> None:
        self.config = config
        self.where = where

    def wrong(self, key: str, why: str) -> Unusable:
        """The error for a value that cannot be."""
        return Unusable(f"{key} in the model's configuration {why}", where=self.where)

    def maybe(self, *keys: str, least: int = 1) -> int | None:
        """The first of these keys that is a number, checked; None when none is given."""
        for key in keys:
            value = self.config.get(key)
            if value is None:
                continue
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if isinstance(value, bool) or not isinstance(value, int):
                raise self.wrong(key, "is not a whole number")
            if not least <= value <= _LARGEST:
                raise self.wrong(key, f"is {value if abs(value) < 1 << 64 else 'beyond any size'}")
            return value
        return None

    def number(self, *keys: str, default: int | None = None, least: int = 1) -> int:
        """The number under the first of these keys, or the default; `Unusable` when there is neither."""
        value = self.maybe(*keys, least=least)
        if value is not None:
            return value
        if default is None:
            raise Unusable(
                f"the model's configuration lacks {keys[0]}",
                where=self.where,
                hint="give the folder that holds the complete config.json",
            )
        return default

    def flag(self, key: str, default: bool = False) -> bool:
        """A truth value."""
        value = self.config.get(key)
        return default if value is None else bool(value)

    def text(self, key: str, default: str = "") -> str:
        """A short string."""
        value = self.config.get(key)
        return value[:200] if isinstance(value, str) else default

    def items(self, key: str) -> list[Any]:
        """A list with at most as many items as a model can have layers; empty when there is none."""
        value = self.config.get(key)
        if not isinstance(value, list):
            return []
        if len(value) > _LAYERS:
            raise self.wrong(key, f"has {len(value)} items")
        return value

    def words(self, *keys: str) -> list[str]:
        """The first of these keys that is a list of strings; empty when none is."""
        for key in keys:
            values = self.items(key)
            if values and all(isinstance(value, str) and len(value) < 60 for value in values):
                return values
        return []

    def numbers(self, key: str) -> list[int]:
        """A list of small whole numbers."""
        values = self.items(key)
        if any(isinstance(v, bool) or not isinstance(v, int) or not 0 <= v <= _LARGEST for v in values):
            raise self.wrong(key, "is not a list of whole numbers")
        return values

    def within(self, key: str) -> "Facts | None":
        """A part of the configuration (``text_config``, ``vision_config``), None when there is none."""
        value = self.config.get(key)
        return Facts(value, self.where) if isinstance(value, dict) else None

    def layers(self, *keys: str) -> int:
        """How many layers there are."""
        count = self.number(*keys)
        if count > _LAYERS:
            raise self.wrong(keys[0], f"is {count}")
        return count

    def drafts(self) -> int:
        """How many multi-token-prediction layers follow the model's own."""
        count = self.maybe("num_nextn_predict_layers", "mtp_num_hidden_layers", least=0) or 0
        if count > _DRAFTS:
            raise self.wrong("num_nextn_predict_layers", f"is {count}")
        return count
