"""The newest release of an engine that the matrices know: what is judged when no version is named."""

import re
from pathlib import Path


def newest(engine: str) -> str | None:
    """The newest release of an engine that the matrices know, None when they know none."""
    if engine == "vllm":
        from gpudoctor.matrices import vllm

        return vllm.releases()[-1].version
    if engine == "ollama":
        # A search of the text instead of the typed reader: this is asked at every start, and the reader costs as much
        # as all the rest of a prediction. A test compares the two.
        text = (Path(__file__).parent.parent / "matrices" / "ollama.toml").read_text(encoding="utf-8")
        found = re.search(r'^known_until = "([^"]+)"$', text, re.MULTILINE)
        return found[1] if found else None
    if engine == "sglang":
        from gpudoctor.matrices import sglang

        return sglang.releases()[-1].version
    return None
