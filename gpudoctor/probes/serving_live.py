"""Short streamed completions, alone and several at once: time to the first token, and tokens per second."""

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gpudoctor.facts.serving import Endpoint, LiveRun, ServedModel
from gpudoctor.probes.http_client import HttpClient, NoAnswer

_PROMPT = "Count upwards in words, one number on each line, and do not stop: one, two, three,"
_MOST_MODELS = 4
#: A year from which on an expiry means "never": the engine adds some hundred years.
_NEVER = "2200"


class Bounds(NamedTuple):
    """What ``--live`` may take: requests at once, seconds for each step, tokens for each request."""

    concurrency: tuple[int, ...]
    seconds: float
    tokens: int


class _One(NamedTuple):
    """How one request went; times in seconds since its start."""

    first: float | None = None
    last: float | None = None
    tokens: int = 0
    counted: float | None = None
    failure: str | None = None


def measure(
    client: Callable[[], HttpClient], endpoint: Endpoint, bounds: Bounds, doing: Callable[[str, float], None]
) -> Iterator[LiveRun]:
    """Yield one run for each loaded model and step of the ladder. A model that is not loaded is not asked.

    The ladder ends at the first step at which no request came to an end.
    """
    for model in endpoint.loaded[:_MOST_MODELS]:
        for number, concurrency in enumerate(bounds.concurrency):
            if number == 0:
                # The first request of a fresh engine compiles and captures graphs; it says nothing of the next.
                doing(f"a first completion of {model.name}", bounds.seconds + 10)
                _request(client(), endpoint, model, 4, bounds.seconds)
            doing(f"{concurrency} completions of {model.name} at once", bounds.seconds + 10)
            run = _step(client, endpoint, model, concurrency, bounds)
            yield run
            if not run.completed:
                break


def _step(
    client: Callable[[], HttpClient], endpoint: Endpoint, model: ServedModel, concurrency: int, bounds: Bounds
) -> LiveRun:
    done: list[_One] = []
    started = time.monotonic()

    def work() -> None:
        done.append(_request(client(), endpoint, model, bounds.tokens, bounds.seconds))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, started + bounds.seconds + 2 - time.monotonic()))
    wall = time.monotonic() - started
    results = list(done)
    whole = [each for each in results if each.failure is None]
    firsts = [each.first for each in whole if each.first is not None]
    speeds = [speed for each in whole if (speed := _speed(each)) is not None]
    tokens = sum(each.tokens for each in whole)
    return LiveRun(
        model=model.name,
        concurrency=concurrency,
        completed=len(whole),
        failed=concurrency - len(whole),
        tokens=tokens,
        first_token_seconds=round(statistics.median(firsts), 4) if firsts else None,
        slowest_first_token_seconds=round(max(firsts), 4) if firsts else None,
        tokens_per_s=round(statistics.median(speeds), 2) if speeds else None,
        total_tokens_per_s=round(tokens / wall, 2) if tokens and wall > 0 else None,
        failure=next((each.failure for each in results if each.failure), None)
        or ("no request came to an end in time" if not whole else None),
    )


def _speed(one: _One) -> float | None:
    if one.counted is not None:
        return one.counted
    if one.first is None or one.last is None or one.tokens < 2 or one.last <= one.first:
        return None
    return (one.tokens - 1) / (one.last - one.first)


def _request(client: HttpClient, endpoint: Endpoint, model: ServedModel, tokens: int, seconds: float) -> _One:
    ollama = endpoint.engine == "ollama"
    path, document = ("/api/generate", _for_ollama(model, tokens)) if ollama else ("/v1/completions", {
        "model": model.name, "prompt": _PROMPT, "max_tokens": tokens, "temperature": 0, "stream": True,
        "stream_options": {"include_usage": True},
    })  # fmt: skip
    read = _ollama_line if ollama else _openai_line
    started, one = time.monotonic(), _One()
    try:
        for line in client.lines(path, document, seconds):
            one = read(one, line, time.monotonic() - started)
            if one.failure is not None:
                return one
    except NoAnswer as problem:
        return one._replace(failure=problem.words)
    return one if one.tokens else one._replace(failure="it answered without a token")


def _for_ollama(model: ServedModel, tokens: int) -> dict[str, Any]:
    options: dict[str, Any] = {"num_predict": tokens, "temperature": 0}
    if model.context:
        # Another context than the loaded one would make Ollama load the model anew.
        options["num_ctx"] = model.context
    document: dict[str, Any] = {"model": model.name, "prompt": _PROMPT, "stream": True, "options": options}
    if (model.expires or "") >= _NEVER:
        # A request without it would put back the server's default, and the model would go after five minutes.
        document["keep_alive"] = -1
    return document


def _ollama_line(one: _One, line: bytes, now: float) -> _One:
    said = _object(line)
    if isinstance(said.get("error"), str):
        return one._replace(failure=said["error"][:200])
    if said.get("response") or said.get("thinking"):
        one = one._replace(first=now if one.first is None else one.first, last=now, tokens=one.tokens + 1)
    count, nanoseconds = said.get("eval_count"), said.get("eval_duration")
    if isinstance(count, int) and isinstance(nanoseconds, int) and count > 0 and nanoseconds > 0:
        one = one._replace(tokens=count, counted=count / nanoseconds * 1e9)
    return one


def _openai_line(one: _One, line: bytes, now: float) -> _One:
    if not line.startswith(b"data:"):
        return one
    said = _object(line[5:])
    error = said.get("error")
    if error:
        words = error.get("message") if isinstance(error, dict) else error
        return one._replace(failure=str(words)[:200])
    choices = said.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict) and choices[0].get("text"):
        one = one._replace(first=now if one.first is None else one.first, last=now, tokens=one.tokens + 1)
    usage = said.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if isinstance(count, int) and one.first is not None and 0 < count < 1 << 20:
        # Several tokens may come in one piece; the engine's own count is the true one.
        one = one._replace(tokens=count)
    return one


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
