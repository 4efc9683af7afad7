"""Real tensors of real files, summed the way `Model` wants them: the bytes that are there, no rule needed."""

from dataclasses import dataclass, field

from gpudoctor.fit.model import Encoder, Layer, Model, Parts


@dataclass
class Inventory:
    """Bytes by place; `layers` maps a block's number to its bytes by part."""

    layers: dict[int, dict[str, int]] = field(default_factory=dict)
    embedding: int = 0
    output: int = 0
    final: int = 0
    host: int = 0
    draft: int = 0
    encoders: dict[str, int] = field(default_factory=dict)
    """Bytes of towers by kind (``vision``, ``audio``)."""
    types: dict[str, str] = field(default_factory=dict)
    """Stored type of ``embedding``, ``output`` and ``expert``."""

    def add(self, layer: int, part: str, size: int) -> None:
        """Count a tensor of a block."""
        sums = self.layers.setdefault(layer, {})
        sums[part] = sums.get(part, 0) + size

    @property
    def total(self) -> int:
        """All bytes but draft layers'."""
        blocks = sum(sum(parts.values()) for parts in self.layers.values())
        return blocks + self.embedding + self.output + self.final + self.host + sum(self.encoders.values())


def applied(model: Model, real: Inventory, *, separate: bool = False) -> Model:
    """The model with the bytes of its real files in place of the computed ones.

    `separate` says that the towers lie in a file of their own.
    """
    known: dict[Layer, Layer] = {}
    layers = []
    for index, layer in enumerate(model.layers):
        made = layer._replace(weights=Parts(**real.layers.get(index, {})))
        layers.append(known.setdefault(made, made))
    described = {encoder.kind: encoder for encoder in model.encoders}
    encoders = []
    for kind, size in real.encoders.items():
        tower = described.get("audio" if kind == "audio" else "vision")
        if tower is None:
            tower = Encoder("audio" if kind == "audio" else "vision", 0)
        encoders.append(tower._replace(weights_bytes=size, separate_file=separate))
    return model._replace(
        layers=tuple(layers),
        embedding_bytes=real.embedding,
        output_bytes=real.output,
        tied_embeddings=not real.output,
        final_bytes=real.final,
        host_bytes=real.host,
        draft_bytes=real.draft,
        encoders=tuple(encoders),
        embedding_type=real.types.get("embedding", model.embedding_type),
        output_type=real.types.get("output", real.types.get("embedding", model.output_type)),
        expert_type=real.types.get("expert", model.expert_type),
    )
