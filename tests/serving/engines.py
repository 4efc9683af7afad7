"""Small HTTP servers that answer as engines do: figures of our own in the shapes that their sources publish."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: What to answer on a path: a document, plain text, or a function that answers by itself.
Answers = dict[str, Any]

GIB = 2**30

OLLAMA: Answers = {
    "/api/version": {"version": "0.11.10"},
    "/api/ps": {"models": [{
        "name": "gpt-oss:120b", "model": "gpt-oss:120b", "size": 65 * GIB, "size_vram": 0, "digest": "sha256:0",
        "details": {"family": "gptoss", "parameter_size": "116.8B", "quantization_level": "MXFP4"},
        "expires_at": "2318-10-01T00:00:00Z", "context_length": 8192,
    }]},
    "/api/tags": {"models": [{"name": "gpt-oss:120b", "size": 65369818941},
                             {"name": "gpt-oss:20b", "size": 13793441244}]},
    "/api/show": {"model_info": {"general.architecture": "gptoss", "gptoss.block_count": 36,
                                 "gptoss.context_length": 131072}},
}  # fmt: skip

VLLM_METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="openai/gpt-oss-120b"} 3.0
vllm:num_requests_waiting{engine="0",model_name="openai/gpt-oss-120b"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="openai/gpt-oss-120b"} 0.42
vllm:num_preemptions_total{engine="0",model_name="openai/gpt-oss-120b"} 0.0
vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="60000"} 1.0
"""

VLLM: Answers = {
    "/v1/models": {"object": "list", "data": [{"id": "openai/gpt-oss-120b", "object": "model", "owned_by": "vllm",
                                               "root": "openai/gpt-oss-120b", "parent": None, "max_model_len": 16384}]},
    "/version": {"version": "0.10.2"},
    "/metrics": VLLM_METRICS,
}  # fmt: skip

SGLANG: Answers = {
    "/v1/models": {"object": "list", "data": [{"id": "qwen", "object": "model", "owned_by": "sglang",
                                               "root": "Qwen/Qwen3-8B", "max_model_len": 40960}]},
    "/get_server_info": {"version": "0.5.3", "tp_size": 2, "max_running_requests": 256, "max_total_num_tokens": 400000,
                         "mem_fraction_static": 0.87, "api_key": "sk-very-secret", "admin_api_key": None},
    "/metrics": 'sglang:num_running_reqs{model_name="qwen"} 4\nsglang:num_queue_reqs{model_name="qwen"} 0\n'
                'sglang:token_usage{model_name="qwen"} 0.3\n',
}  # fmt: skip

TGI: Answers = {
    "/info": {"model_id": "Qwen/Qwen2.5-7B-Instruct", "max_concurrent_requests": 128, "max_total_tokens": 8192,
              "max_input_tokens": 4096, "version": "3.3.6-dev0", "router": "text-generation-router"},
    "/metrics": "tgi_batch_current_size 2\ntgi_queue_size 0\n",
}  # fmt: skip

LLAMA_CPP: Answers = {
    "/props": {"default_generation_settings": {"n_ctx": 4096, "params": {}}, "total_slots": 4,
               "model_path": "/models/Qwen3-8B-Q4_K_M.gguf", "build_info": "b6500-0c1e570"},
    "/slots": [{"id": n, "n_ctx": 4096, "is_processing": n < 2} for n in range(4)],
    "/v1/models": {"object": "list", "data": [{"id": "/models/Qwen3-8B-Q4_K_M.gguf", "owned_by": "llamacpp",
                                               "meta": {"n_ctx_train": 40960, "size": 5027783488}}]},
}  # fmt: skip


def completions(*, token_seconds: float = 0.0, slots: int = 0, tokens: int = 16) -> Callable[[Any], None]:
    """Answer a streamed completion; with ``slots`` the others wait for their turn, as in Ollama."""
    turn = threading.Semaphore(slots) if slots else contextlib.nullcontext()

    def answer(handler: Any) -> None:
        ollama = handler.path.startswith("/api/")
        with turn:
            handler.begin("application/x-ndjson" if ollama else "text/event-stream")
            for number in range(tokens):
                time.sleep(token_seconds)
                if ollama:
                    handler.line({"response": " x", "done": False})
                else:
                    handler.line({"choices": [{"text": " x", "index": number}]}, b"data: ")
            if ollama:
                spent = int(max(token_seconds, 1e-4) * tokens * 1e9)
                handler.line({"done": True, "eval_count": tokens, "eval_duration": spent})
            else:
                handler.line({"choices": [], "usage": {"completion_tokens": tokens}}, b"data: ")

    return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *arguments: Any) -> None:
        pass

    def begin(self, media_type: str, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def line(self, document: Any, before: bytes = b"") -> None:
        self.wfile.write(before + json.dumps(document).encode() + b"\n")
        self.wfile.flush()

    def do_GET(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server.asked.append((self.command, self.path, dict(self.headers), body))
        answer = server.answers.get(self.path, server.answers.get("*"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if callable(answer):
                answer(self)
            elif answer is None:
                self.begin("application/json", 404)
                self.line({"detail": "Not Found"})
            elif isinstance(answer, str):
                self.begin("text/plain; version=0.0.4")
                self.wfile.write(answer.encode())
            else:
                self.begin("application/json")
                self.line(answer)

    do_POST = do_GET


class Server:
    """One server; ``asked`` holds method, path, headers and body of every request."""

    def __init__(self, answers: Answers, certificate: tuple[Path, Path] | None = None) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.daemon_threads = True
        self._http.answers = answers  # type: ignore[attr-defined]
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self._http.asked = self.asked  # type: ignore[attr-defined]
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
            scheme = "https"
        self.port = self._http.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve something that is no HTTP: ``talk`` gets each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            talk(connection)

    def serve() -> None:
        listener.settimeout(0.1)
        while not over.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        thread.join()
        listener.close()
