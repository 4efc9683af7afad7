"""What to ask each engine, and where in its answers the figures stand. Nothing here changes what an engine does."""

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gpudoctor.facts.serving import FailureKind, ServedModel
from gpudoctor.probes.http_client import HttpClient, NoAnswer

_MOST_MODELS = 64
_MOST_SHOWN = 8
_LONGEST = 300
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{[^}]*\})?\s+(\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_MOST_LINES = 20000


class Found(NamedTuple):
    """An engine and the facts of its endpoint."""

    engine: str
    facts: dict[str, Any]


class Questions:
    """Asks one service, and remembers the first thing that went wrong without ending the talk."""

    def __init__(self, client: HttpClient, doing: Callable[[str], None]) -> None:
        self._client = client
        self._doing = doing
        self.trouble: NoAnswer | None = None

    def ask(self, path: str, document: dict[str, Any] | None = None) -> Any:
        """Return the JSON of an answer, None when there is none of that path.

        Raises:
            NoAnswer: The service cannot be asked at all.
        """
        self._doing(path)
        answer = self._client.get(path) if document is None else self._client.post(path, document)
        if answer.status == 200:
            found = answer.json()
            if found is None:
                self._note("html" if answer.is_page else "no-engine",
                           "it answers with a web page" if answer.is_page else "what it answers is no JSON")
            return found
        if answer.status in (401, 403):
            # Engines keep only /v1 behind their key; the others keep all.
            self._note("key", f"it wants a key (HTTP {answer.status})", by_an_engine=path == "/v1/models")
        elif 300 <= answer.status < 400:
            self._note("redirect", f"it sends on to {answer.location[:_LONGEST] or 'nowhere'}, which was not followed")
        elif answer.status == 503 and b"oading" in answer.body[:4096]:
            self._note("loading", "it says that its model is still loading", by_an_engine=True)
        elif answer.status >= 500:
            self._note("error", f"it answers HTTP {answer.status}")
        return None

    def text(self, path: str) -> str:
        """Return the plain text of an answer, empty when there is none."""
        self._doing(path)
        try:
            answer = self._client.get(path)
        except NoAnswer:
            return ""
        return answer.body.decode("utf-8", "replace") if answer.status == 200 and not answer.is_page else ""

    def more(self, path: str, document: dict[str, Any] | None = None) -> Any:
        """Ask for a detail that the rest does not depend on."""
        try:
            return self.ask(path, document)
        except NoAnswer:
            return None

    def _note(self, kind: FailureKind, words: str, *, by_an_engine: bool = False) -> None:
        self.trouble = self.trouble or NoAnswer(kind, words, by_an_engine=by_an_engine)


def identify(questions: Questions) -> Found:
    """Find out which engine answers, and what it serves.

    Raises:
        NoAnswer: None does; its words say what was met instead.
    """
    for engine in (_ollama, _llama_cpp, _tgi, _openai):
        found = engine(questions)
        if found is not None:
            return found
    raise questions.trouble or NoAnswer("no-engine", "it answers, but like none of the engines known")


def _ollama(questions: Questions) -> Found | None:
    version = _map(questions.ask("/api/version"))
    if _text(version.get("version")) is None:
        return None
    running = _map(questions.ask("/api/ps"))
    if "models" not in running:
        # Others have /api/version, too.
        return None
    stored = {name: each for each in _list(_map(questions.more("/api/tags")).get("models")) or ()
              if (name := _text(_map(each).get("name")))}
    models: list[ServedModel] = []
    for each in map(_map, _list(running["models"]) or ()):
        name = _text(each.get("name")) or _text(each.get("model"))
        if name is None:
            continue
        told = _map(questions.more("/api/show", {"model": name})) if len(models) < _MOST_SHOWN else {}
        shape = _map(told.get("model_info"))
        family = _text(shape.get("general.architecture")) or ""
        models.append(
            ServedModel(
                name=name,
                size_bytes=_count(each.get("size")),
                gpu_bytes=_count(each.get("size_vram")),
                file_bytes=_count(_map(stored.get(name)).get("size")),
                context=_positive(each.get("context_length")),
                context_maximum=_positive(shape.get(f"{family}.context_length")),
                layers=_positive(shape.get(f"{family}.block_count")),
                quantization=_text(_map(each.get("details")).get("quantization_level")),
                expires=_text(each.get("expires_at")),
            )
        )
    here = {model.name for model in models}
    models += [ServedModel(name=name, loaded=False, file_bytes=_count(_map(each).get("size")))
               for name, each in stored.items() if name not in here]
    return Found("ollama", {"version": _text(version.get("version")), "models": tuple(models[:_MOST_MODELS])})


def _llama_cpp(questions: Questions) -> Found | None:
    props = _map(questions.ask("/props"))
    settings = _map(props.get("default_generation_settings"))
    slots = _positive(props.get("total_slots"))
    if slots is None and not settings:
        return None
    listed = _models(_map(questions.more("/v1/models")))
    busy = [_map(slot) for slot in _list(questions.more("/slots")) or ()]
    context = _positive(settings.get("n_ctx")) or next((c for s in busy if (c := _positive(s.get("n_ctx")))), None)
    metrics = parse_metrics(questions.text("/metrics"))
    name = _text(props.get("model_alias")) or (listed[0].name if listed else None)
    path = _text(props.get("model_path"))
    model = ServedModel(
        name=name or path or "model",
        path=path,
        context=context,
        context_maximum=listed[0].context_maximum if listed else None,
        file_bytes=listed[0].file_bytes if listed else None,
    )
    facts = {
        "version": _text(props.get("build_info")),
        "models": (model,),
        "slots": slots,
        "running": sum(bool(slot.get("is_processing")) for slot in busy) if busy else None,
        "waiting": _whole(metrics.largest("llamacpp:requests_deferred")),
        "kv_usage": metrics.largest("llamacpp:kv_cache_usage_ratio"),
    }
    return Found("llama.cpp", facts)


def _tgi(questions: Questions) -> Found | None:
    info = _map(questions.ask("/info"))
    name = _text(info.get("model_id"))
    if name is None or not ({"max_total_tokens", "max_concurrent_requests"} & set(info)):
        return None
    metrics = parse_metrics(questions.text("/metrics"))
    model = ServedModel(name=name, path=name, context=_positive(info.get("max_total_tokens")),
                        quantization=_text(info.get("quantize")))
    facts = {
        "version": _text(info.get("version")),
        "models": (model,),
        "slots": _positive(info.get("max_concurrent_requests")),
        "kv_tokens": _positive(info.get("max_batch_total_tokens")),
        "running": _whole(metrics.largest("tgi_batch_current_size")),
        "waiting": _whole(metrics.largest("tgi_queue_size")),
    }
    return Found("tgi", facts)


def _openai(questions: Questions) -> Found | None:
    listing = _map(questions.ask("/v1/models"))
    if _list(listing.get("data")) is None:
        return None
    models = _models(listing)
    owners = {_text(_map(each).get("owned_by")) for each in _list(listing.get("data")) or ()}
    if "sglang" in owners:
        return _sglang(questions, models)
    if "vllm" in owners:
        return _vllm(questions, models)
    # Somebody else's name may stand there; the metrics say whose they are.
    metrics = parse_metrics(questions.text("/metrics"))
    if metrics.has("vllm:"):
        return _vllm(questions, models)
    if metrics.has("sglang:"):
        return _sglang(questions, models)
    return Found("llama-cpp-python" if owners == {"me"} else "openai", {"models": models})


def _vllm(questions: Questions, models: tuple[ServedModel, ...]) -> Found:
    version = _text(_map(questions.more("/version")).get("version"))
    metrics = parse_metrics(questions.text("/metrics"))
    usage = metrics.largest("vllm:kv_cache_usage_perc")
    blocks, size = metrics.label("vllm:cache_config_info", "num_gpu_blocks"), metrics.label(
        "vllm:cache_config_info", "block_size")  # fmt: skip
    facts = {
        "version": version,
        "models": models,
        "kv_usage": usage if usage is not None else metrics.largest("vllm:gpu_cache_usage_perc"),
        "kv_tokens": int(blocks) * int(size) if blocks and size and _digits(blocks) and _digits(size) else None,
        "running": _whole(metrics.total("vllm:num_requests_running")),
        "waiting": _whole(metrics.total("vllm:num_requests_waiting")),
        "preemptions": _whole(metrics.total("vllm:num_preemptions_total", "vllm:num_preemptions")),
    }
    return Found("vllm", facts)


def _sglang(questions: Questions, models: tuple[ServedModel, ...]) -> Found:
    # Its answer holds its keys in clear: only what is named here is taken.
    info = _map(questions.more("/server_info")) or _map(questions.more("/get_server_info"))
    metrics = parse_metrics(questions.text("/metrics"))
    settings = {ours: str(value) for theirs, ours in
                (("tp_size", "tensor_parallel"), ("pp_size", "pipeline_parallel"), ("dp_size", "data_parallel"),
                 ("mem_fraction_static", "gpu_memory_utilization"), ("kv_cache_dtype", "kv_cache_type"),
                 ("quantization", "quantization"))
                if isinstance(value := info.get(theirs), int | float | str) and not isinstance(value, bool)}
    facts = {
        "version": _text(info.get("version")),
        "models": models,
        "settings": {name: value[:_LONGEST] for name, value in settings.items()},
        "slots": _positive(info.get("max_running_requests")),
        "kv_tokens": _positive(info.get("max_total_num_tokens")),
        "kv_usage": metrics.largest("sglang:token_usage"),
        "running": _whole(metrics.total("sglang:num_running_reqs")),
        "waiting": _whole(metrics.total("sglang:num_queue_reqs")),
    }
    return Found("sglang", facts)


def _models(listing: dict[str, Any]) -> tuple[ServedModel, ...]:
    found: list[ServedModel] = []
    for each in map(_map, _list(listing.get("data")) or ()):
        name, meta = _text(each.get("id")), _map(each.get("meta"))
        if name is None or _text(each.get("parent")):  # an adapter rides on its parent
            continue
        found.append(
            ServedModel(
                name=name,
                path=_text(each.get("root")),
                context=_positive(each.get("max_model_len")),
                context_maximum=_positive(meta.get("n_ctx_train")),
                file_bytes=_positive(meta.get("size")),
            )
        )
    return tuple(found[:_MOST_MODELS])


class Metrics:
    """Samples of Prometheus' text form by name, with their labels."""

    def __init__(self, samples: Iterable[tuple[str, dict[str, str], float]]) -> None:
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for name, labels, value in samples:
            self._samples.setdefault(name, []).append((labels, value))

    def has(self, start: str) -> bool:
        """True when a sample's name begins so."""
        return any(name.startswith(start) for name in self._samples)

    def total(self, *names: str) -> float | None:
        """Return the sum over all labels of the first of these names that is there."""
        for name in names:
            if name in self._samples:
                return sum(value for _, value in self._samples[name])
        return None

    def largest(self, name: str) -> float | None:
        """Return the largest over all labels."""
        return max((value for _, value in self._samples.get(name, ())), default=None)

    def label(self, name: str, label: str) -> str | None:
        """Return a label of the first sample."""
        return next((labels[label] for labels, _ in self._samples.get(name, ()) if label in labels), None)


def parse_metrics(text: str) -> Metrics:
    """Read Prometheus' text form; what is no sample is passed over."""
    samples = []
    for line in text.splitlines()[:_MOST_LINES]:
        match = _SAMPLE.match(line[:2000])
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if value == value and abs(value) < 1e15:
            samples.append((match[1], dict(_LABEL.findall(match[2] or "")), value))
    return Metrics(samples)


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else None


def _text(value: Any) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 52 else None


def _positive(value: Any) -> int | None:
    return _count(value) or None


def _whole(value: float | None) -> int | None:
    return None if value is None or value < 0 else int(value)


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 12
