"""Models at the Hugging Face Hub and the Ollama registry, from their headers: never a byte of weights.

Only called with ``--online``. Addresses: the Hub's ``resolve`` and ``api/models`` (its API documentation),
the registry's ``/v2`` (the OCI distribution protocol, which Ollama's registry speaks).
"""

import re
from typing import TYPE_CHECKING, NamedTuple

from gpudoctor.fit.model import Form, Model, Unusable
from gpudoctor.fit.sources import safetensors
from gpudoctor.fit.sources.gguf import read_header
from gpudoctor.fit.sources.names import Name
from gpudoctor.fit.sources.ollama_store import MODEL, PROJECTOR, blobs_in_bytes, reference
from gpudoctor.fit.sources.quantization import canonical, in_gguf, in_safetensors
from gpudoctor.fit.sources.remote import Client, NotThere, Refused
from gpudoctor.fit.sources.resolve import native, no_gguf, remember, unknown
from gpudoctor.fit.sources.strict_json import LARGEST, parse_json

if TYPE_CHECKING:
    from gpudoctor.fit.sources.safetensors_model import Folder

_ID = re.compile(r"^[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}$")
_SHARDS = 64
_MANIFEST = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}


class Endpoints(NamedTuple):
    """Where to ask."""

    hub: str = "https://huggingface.co"
    registry: str = "https://registry.ollama.ai"


def load_online(
    name: Name,
    *,
    quant: str | None,
    dtype: str | None,
    form: Form | None,
    token: str | None,
    endpoints: Endpoints | None = None,
) -> Model:
    """The model behind a name, from headers read over the network.

    Raises `Unusable` when neither place has it, when it is gated, or when the network fails.
    """
    places = endpoints or Endpoints()
    try:
        if name.repository and _ID.match(name.repository):
            return _from_hub(name, quant, dtype, form, Client(token=token), places.hub)
        return _from_registry(name, quant, dtype, Client(), places.registry)
    except NotThere:
        raise unknown(name) from None
    except Refused:
        where = f"{places.hub}/{name.repository}"
        raise Unusable(
            "the model is gated, private or does not exist, and its files are refused",
            where=where,
            hint=f"accept its terms at {where}, then set HF_TOKEN to a token with read access",
        ) from None


def _from_registry(name: Name, quant: str | None, dtype: str | None, client: Client, base: str) -> Model:
    parts = reference(name.text)
    if parts is None:
        raise unknown(name)
    _, owner, model, tag = parts
    root = f"{base}/v2/{owner}/{model}"
    address = f"{root}/manifests/{tag}"
    blobs = blobs_in_bytes(client.document(address, 1 << 20, _MANIFEST), address)
    found = next(blob for blob in blobs if blob.media_type == MODEL)
    header = read_header(client.window(f"{root}/blobs/sha256:{found.digest}"))
    beside = next((blob for blob in blobs if blob.media_type == PROJECTOR), None)
    projector = read_header(client.window(f"{root}/blobs/sha256:{beside.digest}")) if beside else None
    from gpudoctor.fit.sources.gguf_model import from_headers

    made, blueprint = from_headers([header], name.text, "ollama registry", [], projector)
    return _requantized(remember(made._replace(local=False), blueprint), quant)


def _requantized(model: Model, quant: str | None) -> Model:
    if quant is None or quant == model.quantization:
        return model
    if not in_gguf(quant):
        raise no_gguf(quant)
    from gpudoctor.fit.sources.resolve import requantized

    other = requantized(model, quant)
    if other is None:
        raise Unusable(f"its bytes at {quant} cannot be computed", where=model.name)
    return other._replace(assumed=(*other.assumed, f"{quant} made of this {model.quantization} file"))


def _from_hub(name: Name, quant: str | None, dtype: str | None, form: Form | None, client: Client, base: str) -> Model:
    repository = name.repository
    root = f"{base}/{repository}/resolve/main"
    try:
        config = parse_json(client.document(f"{root}/config.json", 1 << 22), f"{root}/config.json")
    except NotThere:
        return _gguf_repository(name, quant, client, base)
    if name.gguf:
        return _gguf_repository(name, quant, client, base)
    from gpudoctor.fit.sources.build import build
    from gpudoctor.fit.sources.config import blueprint_of, quantization_of
    from gpudoctor.fit.sources.safetensors_model import with_files
    from gpudoctor.fit.sources.unknown_model import from_tensors

    blueprint = blueprint_of(config, f"{root}/config.json")
    stored = quantization_of(config)
    if blueprint is None or (quant is None and not in_safetensors(native(blueprint))):
        folder = _folder(client, root, headers=True)
        if blueprint is None:
            return from_tensors(config, folder, name.text, "hub", stored)._replace(local=False)
        shape = build(blueprint, name=name.text, source="hub", form="safetensors", quantization="BF16")
        return remember(with_files(shape, folder)._replace(local=False, quantization=stored or "BF16"), blueprint)
    own = native(blueprint)
    chosen = quant or own
    kind: Form = form or ("safetensors" if in_safetensors(chosen) else "gguf")
    if kind == "gguf" and not in_gguf(chosen):
        if quant is not None:
            raise no_gguf(quant)
        chosen = "Q4_K_M"
    elif kind == "safetensors" and not in_safetensors(chosen):
        kind = "gguf"
    assumed = (f"quantization {chosen}",) if quant is None and chosen != own else ()
    model = build(blueprint, name=name.text, source="hub", form=kind, quantization=chosen, dtype=dtype,
                  files=(f"{root}/config.json",), origin=f"{base}/{repository}", assumed=assumed)  # fmt: skip
    if kind == "safetensors" and chosen == own and dtype is None:
        folder = _folder(client, root, headers=False)
        if folder.total_bytes is not None and folder.total_bytes != model.weights_bytes + model.draft_bytes:
            folder = _folder(client, root, headers=True)
        model = with_files(model, folder)._replace(local=False)
    return remember(model, blueprint, dtype=dtype)


def _folder(client: Client, root: str, *, headers: bool) -> "Folder":
    """What the Hub says about a repository's weights, with every shard's header or the index alone."""
    from gpudoctor.fit.sources.safetensors_model import INDEX, Folder, index_of

    try:
        names, total = index_of(parse_json(client.document(f"{root}/{INDEX}", LARGEST), INDEX), f"{root}/{INDEX}")
    except NotThere:
        names, total, headers = ["model.safetensors"], None, True
    if not headers or len(names) > _SHARDS:
        return Folder((), total, False, 0, (), ())
    files = [safetensors.read_header(client.window(f"{root}/{name}", chunk=1 << 17)) for name in names]
    seen = {entry.name: entry for file in files for entry in file.tensors}
    size = sum(file.file_bytes for file in files)
    addresses = tuple(f"{root}/{name}" for name in names)
    return Folder(tuple(seen.values()), sum(e.size for e in seen.values()), True, size, addresses, ())


def _gguf_repository(name: Name, quant: str | None, client: Client, base: str) -> Model:
    address = f"{base}/api/models/{name.repository}"
    listed = parse_json(client.document(address, LARGEST), address)
    siblings = listed.get("siblings")
    files = [s.get("rfilename") for s in siblings if isinstance(s, dict)] if isinstance(siblings, list) else []
    ggufs = [f for f in files if isinstance(f, str) and f.lower().endswith(".gguf") and ".." not in f]
    models = [f for f in ggufs if "mmproj" not in f.lower()]
    if not models:
        raise Unusable("the repository holds neither config.json nor a GGUF file", where=f"{base}/{name.repository}")
    wanted = quant or name.quantization or "Q4_K_M"
    chosen = [f for f in models if _quantization(f) == wanted]
    if not chosen and len({_quantization(f) for f in models}) == 1:
        chosen = models
    if not chosen:
        shown = ", ".join(sorted({q for f in models if (q := _quantization(f))})[:12])
        raise Unusable(f"no GGUF file of {wanted} there", where=f"{base}/{name.repository}", hint=f"it has {shown}")
    stem = re.sub(r"-\d{5}-of-\d{5}", "", chosen[0])
    parts = sorted(f for f in chosen if re.sub(r"-\d{5}-of-\d{5}", "", f) == stem)[:_SHARDS]
    root = f"{base}/{name.repository}/resolve/main"
    headers = [read_header(client.window(f"{root}/{part}")) for part in parts]
    projectors = sorted((f for f in ggufs if "mmproj" in f.lower()), key=lambda f: "f16" not in f.lower())
    projector = read_header(client.window(f"{root}/{projectors[0]}")) if projectors else None
    from gpudoctor.fit.sources.gguf_model import from_headers

    made, blueprint = from_headers(headers, name.text, "hub", [], projector)
    assumed = () if quant or name.quantization else (f"quantization {made.quantization}",)
    return remember(made._replace(local=False, assumed=assumed), blueprint)


def _quantization(file: str) -> str | None:
    """The quantization in a GGUF file's name."""
    stem = re.sub(r"-\d{5}-of-\d{5}", "", file.rpartition("/")[2])[:-5]
    words = re.split(r"[-.]", stem)
    return next((q for word in reversed(words) if (q := canonical(word))), None)
