"""The Fit JSON document (``gpudoctor.fit/1``): an answer as plain dictionaries."""

from typing import Any

from gpudoctor.fit.prediction import Need, Prediction, Reason
from gpudoctor.fit.question import Advice, Answer, Row

EXIT_CODES = {"fits": 0, "partial": 1, "does-not-fit": 1, "cannot-run": 1, "unknown": 3}


def exit_code(answer: Answer) -> int:
    """0 fits (or partial as asked), 1 does not or cannot, 3 not known."""
    settings = answer.question.settings
    asked = settings.cpu_moe or settings.allow_partial or settings.gpu_layers is not None
    asked = asked or settings.engine == "ktransformers"
    verdict = answer.prediction.verdict
    return 0 if verdict == "partial" and asked else EXIT_CODES[verdict]


def document(answer: Answer) -> dict[str, Any]:
    """Return the whole document; key order is the contract's."""
    question, prediction = answer.question, answer.prediction
    model, settings = question.model, prediction.settings
    required = [need.least for need in prediction.gpus]
    return {
        "schema": "gpudoctor.fit/1",
        "verdict": prediction.verdict,
        "exit_code": exit_code(answer),
        "model": {
            "name": model.name,
            "architecture": model.architecture,
            "parameters": model.parameters,
            "layers": len(model.layers),
            "quantization": model.quantization,
            "weights_bytes": model.weights_bytes,
            "source": model.source,
        },
        "engine": {"name": question.settings.engine, "version": question.settings.version},
        "assumed": list(answer.assumed),
        "settings": {
            "context": settings.context,
            "parallel": settings.parallel,
            "kv_cache_type": settings.kv_cache_type,
            "flash_attention": settings.flash_attention,
            "batch": settings.batch,
            "ubatch": settings.ubatch,
            "tensor_parallel": settings.tensor_parallel or 1,
            "pipeline_parallel": settings.pipeline_parallel or 1,
            "gpu_memory_utilization": settings.gpu_memory_utilization,
            "max_num_seqs": settings.max_num_seqs,
            "max_num_batched_tokens": settings.max_num_batched_tokens,
        },
        "gpus": [
            {
                "index": gpu.number,
                "name": gpu.name,
                "total_bytes": gpu.total_bytes,
                "available_bytes": gpu.free_bytes,
                "required_bytes": need.total,
                "minimum_bytes": need.least,
                "breakdown": _breakdown(need),
                "layers": list(need.layers) if need.layers else None,
            }
            for gpu, need in zip(question.hardware.gpus, prediction.gpus, strict=True)
        ],
        "host": {"required_bytes": prediction.host_bytes, "available_bytes": question.hardware.host_free_bytes},
        "layers": _layers(prediction),
        "kv_cache": {
            "bytes_per_token": _whole(prediction.kv_bytes_per_token),
            "tokens": prediction.kv_tokens,
            "needed_bytes": prediction.kv_needed_bytes,
            "max_concurrency": None if prediction.max_concurrency is None else round(prediction.max_concurrency, 2),
        },
        "limits": {"max_context": answer.limits.max_context, "max_parallel": answer.limits.max_parallel},
        "error_bytes": list(prediction.error),
        "margin_bytes": prediction.margin_bytes if required else None,
        "if_stopped": _stopped(answer),
        "contexts": [_row(row) for row in answer.contexts],
        "speed": _speed(answer),
        "findings": [finding(reason) for reason in answer.reasons],
        "advice": [_advice(option) for option in answer.advice],
        "launch": _launch(answer),
    }


def _breakdown(need: Need) -> dict[str, int | None]:
    return {"weights": need.weights, "kv_cache": need.kv_cache, "compute": need.compute, "overhead": need.overhead}


def _whole(value: float | None) -> int | float | None:
    return value if value is None or not float(value).is_integer() else int(value)


def _layers(prediction: Prediction) -> dict[str, int | None] | None:
    if prediction.layers_total is None:
        return None
    return {"total": prediction.layers_total, "on_gpu": prediction.layers_on_gpu}


def _stopped(answer: Answer) -> dict[str, Any] | None:
    if answer.if_stopped is None:
        return None
    holders = [
        {"gpu": gpu.number, "pid": holder.pid, "name": holder.name, "used_bytes": holder.used_bytes}
        for gpu in answer.question.hardware.gpus
        for holder in gpu.holders
    ]
    return {"verdict": answer.if_stopped.verdict, "processes": holders}


def _speed(answer: Answer) -> dict[str, Any] | None:
    if answer.decode_tokens_per_s is None:
        return None
    return {"decode_tokens_per_s": answer.decode_tokens_per_s, "basis": answer.speed_basis}


def _advice(option: Advice) -> dict[str, Any]:
    from gpudoctor.reports.words import fill

    return {"text": fill(option.text, option.params), "change": option.change}


def _launch(answer: Answer) -> dict[str, str] | None:
    if not answer.question.hardware.gpus or answer.prediction.verdict not in ("fits", "partial"):
        return None
    from gpudoctor.fit.launch import launch

    lines = launch(answer.question, answer.prediction)
    return {"command": lines.command, "compose": lines.compose}


def finding(reason: Reason) -> dict[str, Any]:
    """Put one reason into words, in the shape that findings have everywhere."""
    from gpudoctor.reports.words import fill, told

    return {
        "id": reason.check,
        "status": reason.status,
        "subject": reason.subject,
        "message": told(reason.message, reason.params),
        "params": reason.params,
        "evidence": [{"what": what, "value": value, "source": source} for what, value, source in reason.evidence],
        "fix": [
            {"text": told(text, reason.params), "command": command and fill(command, reason.params), "risk": None}
            for text, command in reason.steps
        ],
        "location": None,
        "explains": [],
        "caused_by": None,
        "accepted": None,
        "links": list(reason.links),
        "duration_s": 0.0,
    }


def _row(row: Row) -> dict[str, Any]:
    prediction = row.prediction
    totals = [need.least for need in prediction.gpus]
    required = None if None in totals else sum(total or 0 for total in totals)
    return {
        "context": row.context,
        "verdict": prediction.verdict,
        "required_bytes": required,
        "kv_cache_bytes": prediction.kv_needed_bytes,
        "left_bytes": prediction.margin_bytes,
        "decode_tokens_per_s": row.decode_tokens_per_s,
    }
