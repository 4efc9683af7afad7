"""Headers from the Hugging Face Hub and the Ollama registry, never weights."""

from gpudoctor.fit.model import Form, Model, Unusable
from gpudoctor.fit.sources.names import Name


def load_online(name: Name, *, quant: str | None, dtype: str | None, form: Form | None, token: str | None) -> Model:
    """The model behind a name, from headers read over the network."""
    raise Unusable("reading headers over the network is not done yet", where=name.text)
