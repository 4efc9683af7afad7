"""llama.cpp's server: layers dealt by free memory, unified or separate caches, and since December 2025 ``--fit``.

Sources: llama.cpp src/llama-model.cpp, src/llama-context.cpp, src/llama-kv-cache*.cpp, common/fit.cpp; published
logs. Buffers are exact; the CUDA context comes on top.
"""

from gpudoctor.fit.cache import element_bytes, padded
from gpudoctor.fit.engines import llama_buffers as buffers
from gpudoctor.fit.engines.common import CONTEXT_ERROR_BYTES, context_bytes, weights_error
from gpudoctor.fit.hardware import Hardware
from gpudoctor.fit.model import Model
from gpudoctor.fit.placement import Layout, fill_in_order, placed, span, split_by_weight
from gpudoctor.fit.prediction import Need, Prediction, Reason, Term, Verdict
from gpudoctor.fit.settings import MIB, Settings, version_tuple

NAME = "llama.cpp"
FORM = "gguf"
#: First builds that reduce what does not fit by themselves (PR 16653) and that choose parallel slots themselves.
FIT_BUILD = 7407
FIT_MARGIN_BYTES = 1024 * MIB
FIT_CONTEXT = 4096


def build_number(version: str | None) -> int | None:
    """The build of ``b2900`` or ``2900``; None for the newest or a name without a number."""
    numbers = version_tuple(version)
    return numbers[0] if numbers else None


def prepare(model: Model, settings: Settings, hardware: Hardware) -> tuple[Settings, tuple[str, ...]]:
    """Fill in llama-server's defaults and say which."""
    assumed: list[str] = []
    context = settings.context
    if context is None:
        context = model.context_maximum or 4096
        assumed.append(f"context {context}, the model's own maximum (llama-server's default)")
    flash = settings.flash_attention
    if flash is None:
        flash = True
        assumed.append("flash attention on (auto)")
    if settings.parallel is None:
        assumed.append("parallel 1")
    return (
        settings._replace(
            context=context,
            parallel=settings.parallel or 1,
            kv_cache_type=settings.kv_cache_type or "f16",
            flash_attention=flash,
            batch=settings.batch or 2048,
            ubatch=min(settings.ubatch or 512, settings.batch or 2048),
        ),
        tuple(assumed),
    )


def predict(model: Model, settings: Settings, hardware: Hardware) -> Prediction:
    """Place the model as llama-server does and compare with the free memory."""
    build = build_number(settings.version)
    fits_itself = settings.gpu_layers is None and not settings.cpu_moe and (build is None or build >= FIT_BUILD)
    plan = _Plan(model, settings, hardware, build, FIT_MARGIN_BYTES if fits_itself else 0)
    units = len(model.layers) + 1
    wanted = units if settings.gpu_layers is None else min(settings.gpu_layers, units)
    cpu_moe = len(model.layers) if settings.cpu_moe and model.experts else 0
    layout = plan.dealt(wanted)
    if plan.holds(layout, cpu_moe):
        return plan.answer(layout, "fits" if wanted >= units and not cpu_moe else "partial", cpu_moe)
    repacked = plan.repacked(wanted, cpu_moe) if fits_itself else None
    if repacked is not None:
        return plan.answer(repacked, "fits", 0)
    if not fits_itself and settings.gpu_layers is not None:
        return plan.answer(layout, "does-not-fit", cpu_moe)
    best = plan.reduced(wanted)
    if best is None:
        return plan.answer(layout, "does-not-fit", cpu_moe)
    if not fits_itself:
        # Older servers load what they are told: the layers that would fit are advice, not what happens.
        return plan.answer(layout, "does-not-fit", cpu_moe, possible=placed(best[0]))
    return plan.answer(best[0], "partial", best[1])


class _Plan:
    """One model on these GPUs: sizes are computed once, layouts are judged many times."""

    def __init__(self, model: Model, settings: Settings, hardware: Hardware, build: int | None, margin: int) -> None:
        self.model, self.settings, self.hardware, self.build, self.margin = model, settings, hardware, build, margin
        context, parallel = settings.context or 0, settings.parallel or 1
        # Separate streams when slots were asked for; the automatic four slots share one cache.
        self.unified = parallel == 1
        self.ubatch = settings.ubatch or 512
        element = element_bytes(settings.kv_cache_type or "f16")
        self.cache = buffers.cache_bytes(
            model, context, parallel, element, unified=self.unified, ubatch=self.ubatch, build=build
        )
        self.cells = padded(context, 256)
        self.room = [max(gpu.free_bytes - context_bytes(gpu) - margin, 0) for gpu in hardware.gpus]

    def dealt(self, wanted: int) -> Layout:
        weights = [gpu.free_bytes for gpu in self.hardware.gpus]
        return split_by_weight(len(self.model.layers) + 1, weights, wanted)

    def needs(self, layout: Layout, cpu_moe: int) -> list[Need]:
        units = buffers.unit_bytes(self.model, cpu_moe=cpu_moe)
        used = {slot for slot in layout if slot is not None}
        whole = None not in layout and not cpu_moe
        first_used = min(used, default=0)
        found = []
        for i, gpu in enumerate(self.hardware.gpus):
            if i not in used:
                found.append(Need())
                continue
            held = [unit for unit, slot in enumerate(layout) if slot == i]
            weights = sum(units[unit] for unit in held)
            if i == first_used:
                weights += self.model.encoder_bytes
            compute = buffers.compute_bytes(
                self.model,
                self.cells,
                self.ubatch,
                flash=bool(self.settings.flash_attention),
                holds_output=layout[-1] == i,
                copies=len(used) > 1 and whole,
                build=self.build,
            )
            cache = sum(self.cache[unit] for unit in held if unit < len(self.cache))
            found.append(Need(weights, cache, compute, context_bytes(gpu), layers=span(layout, i)))
        return found

    def holds(self, layout: Layout, cpu_moe: int) -> bool:
        needs = self.needs(layout, cpu_moe)
        return all(
            (need.total or 0) + (self.margin if need.total else 0) <= gpu.free_bytes
            for need, gpu in zip(needs, self.hardware.gpus, strict=True)
        )

    def repacked(self, wanted: int, cpu_moe: int) -> Layout | None:
        """The split ``--fit`` finds when the one by free memory overflows a GPU."""
        if len(self.hardware.gpus) < 2:
            return None
        layout = self._filled(wanted, cpu_moe)
        return layout if layout and self.holds(layout, cpu_moe) else None

    def _filled(self, wanted: int, cpu_moe: int) -> Layout | None:
        units = buffers.unit_bytes(self.model, cpu_moe=cpu_moe)
        sizes = [unit + cache for unit, cache in zip(units, [*self.cache, 0], strict=True)]
        start = len(sizes) - wanted
        compute = max((need.compute or 0) for need in self.needs(self.dealt(wanted), cpu_moe))
        filled = fill_in_order(sizes[start:], [room - compute for room in self.room])
        skipped: Layout = [None] * start
        return None if filled is None else skipped + filled

    def reduced(self, wanted: int) -> tuple[Layout, int] | None:
        """The most that fits: for a mixture as few experts as needed to the CPU, then whole layers."""
        if self.model.experts is not None:
            found = self._fewest_experts(wanted)
            if found is not None:
                return found
        low, high = 0, wanted
        best: Layout | None = None
        while low < high:
            middle = (low + high + 1) // 2
            layout = self._filled(middle, 0)
            if layout is not None and self.holds(layout, 0):
                low, best = middle, layout
            else:
                high = middle - 1
        if best is None and self.margin:
            # With --fit the server then starts with every layer on the CPU.
            return [None] * (len(self.model.layers) + 1), 0
        return (best, 0) if best is not None else None

    def _fewest_experts(self, wanted: int) -> tuple[Layout, int] | None:
        """The fewest layers, counted from the first, whose experts have to stay on the CPU."""
        low, high = 1, len(self.model.layers)
        best: tuple[Layout, int] | None = None
        while low <= high:
            middle = (low + high) // 2
            layout = self._filled(wanted, middle)
            if layout is not None and self.holds(layout, middle):
                best, high = (layout, middle), middle - 1
            else:
                low = middle + 1
        return best

    def answer(self, layout: Layout, verdict: Verdict, cpu_moe: int, possible: int | None = None) -> Prediction:
        model, settings = self.model, self.settings
        needs = self.needs(layout, cpu_moe)
        pairs = zip(needs, self.hardware.gpus, strict=True)
        left = [gpu.free_bytes - need.total for need, gpu in pairs if need.total]
        units = buffers.unit_bytes(model)
        on_gpu = buffers.unit_bytes(model, cpu_moe=cpu_moe)
        cpu_weights = sum(unit for unit, slot in zip(units, layout, strict=True) if slot is None)
        cpu_weights += sum(
            unit - kept for unit, kept, slot in zip(units, on_gpu, layout, strict=True) if slot is not None
        )
        host_cache = sum(cache for cache, slot in zip(self.cache, layout, strict=False) if slot is None)
        host = cpu_weights + host_cache + model.embedding_bytes + model.host_bytes + 4 * self.ubatch * self.cells
        parallel = settings.parallel or 1
        weights = sum(need.weights or 0 for need in needs)
        compute = sum(need.compute or 0 for need in needs)
        slack = round(weights_error(model) * weights) + max(64 * MIB, compute // 20) + CONTEXT_ERROR_BYTES * len(left)
        reasons: tuple[Reason, ...] = ()
        if possible is not None:
            reasons = (
                Reason(
                    "model.too-big",
                    "info",
                    "{possible} of {units} layers would fit (-ngl {possible})",
                    {"possible": possible, "units": len(layout)},
                ),
            )
        return Prediction(
            verdict=verdict,
            gpus=tuple(needs),
            settings=settings._replace(cpu_moe_layers=0 if settings.cpu_moe else cpu_moe),
            kv_bytes_per_token=sum(self.cache) / max(self.cells * parallel, 1),
            kv_tokens=self.cells * parallel,
            kv_needed_bytes=sum(self.cache),
            max_concurrency=float(parallel),
            host_bytes=host,
            layers_total=len(layout),
            layers_on_gpu=placed(layout),
            reasons=reasons,
            terms=self.terms(needs),
            error=(slack, slack),
            margin_bytes=min(left) if left else None,
            cpu_weights_bytes=cpu_weights,
        )

    def terms(self, needs: list[Need]) -> tuple[Term, ...]:
        settings = self.settings
        source = "llama.cpp src/llama-context.cpp"
        scores = "the output's logits: 4 B x ubatch x (vocabulary + 2 hidden)"
        if not settings.flash_attention:
            scores = "the larger of the logits and the scores 4 B x ubatch x (heads x context + context + 4 hidden)"
        return (
            Term("weights", sum(n.weights or 0 for n in needs), "layers and output on the GPUs; embedding on the host",
                 "llama.cpp src/llama-model.cpp"),
            Term("KV cache", sum(n.kv_cache or 0 for n in needs),
                 f"{self.cells} cells x {settings.parallel} x layers x KV heads x head size, {settings.kv_cache_type}",
                 "llama.cpp src/llama-kv-cache.cpp"),
            Term("compute buffers", sum(n.compute or 0 for n in needs), scores, source),
            Term("CUDA contexts", sum(n.overhead or 0 for n in needs), "450 MiB on each GPU used", "measurements"),
        )  # fmt: skip
