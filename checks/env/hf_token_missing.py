"""The model asks for consent at Hugging Face, and no token is set.

## Why it matters
Downloading a gated model without a token ends in "401 Client Error ... Cannot access gated repo", often minutes into a
deployment and inside a container that lacks the token its host has.

## How to fix
Accept the licence on the model's page, make a token, and set it where the engine runs. A token that `hf auth login`
stored in the user's home works too, for that user outside containers; gpudoctor does not look into it.

## References
- https://huggingface.co/docs/hub/models-gated
- https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables#hftoken
"""

import re
from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, passed, saw, skipped, step, warned
from gpudoctor.facts.host import Host

#: Owners and families known to ask for consent; a name that matches none is not judged.
_GATED = re.compile(
    r"(meta-llama/|google/(code|med|pali|shield|t5)?gemma-?[1-3n]?|google/gemma|CohereLabs/|CohereForAI/|"
    r"bigcode/starcoder|mistralai/(Mistral-Large|Codestral|Ministral|Pixtral-Large|Mistral-Small-24B))", re.IGNORECASE
)


@check()
def hf_token_missing(host: Host, target: Target) -> Iterator[Finding]:
    """Look for a token when the model's owner is known to ask for consent."""
    model = target.model or ""
    if not _GATED.match(model):
        yield skipped("host", "no model was named that is known to ask for consent at Hugging Face")
        return
    names = [name for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if host.environment.get(name)]
    seen = saw("token variables that are set", tuple(names), "environment")
    if names:
        yield passed("host", "{model} asks for consent, and {name} is set", model=model, name=names[0], evidence=seen)
        return
    if any(wish.name == "ollama" for wish in target.engines):
        yield skipped("host", "Ollama fetches from its own registry, which asks for no token")
        return
    yield warned("host", "{model} asks for consent at Hugging Face, and HF_TOKEN is not set here", model=model,
                 page=f"https://huggingface.co/{model}", evidence=seen, fix=(
                     step("Accept the licence at {page}, then store a token for this user.", "hf auth login"),
                     step("In a container, hand the token in.", "docker run -e HF_TOKEN --gpus all IMAGE")))
