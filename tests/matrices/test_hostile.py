"""Names and versions come from other people's files: whatever they are, a lookup answers."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.matrices import containers, cuda_driver, engines, gpus, images, ollama, pytorch, vllm

HUGE = "9" * 5000
TEXT = st.one_of(
    st.text(max_size=60),
    st.from_regex(r"v?[0-9]{1,3}(\.[0-9]{1,3}){0,3}(\+cu[0-9]{1,4})?", fullmatch=True),
    st.sampled_from(
        [HUGE, f"{HUGE}.1", f"1+cu{HUGE}", f"v{HUGE}.0.0", f"{HUGE}gb", "1.\u0663", "2.5.1+cu\u00b2\u00b2"]
    ),
)


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_lookups_by_version_answer(text: str) -> None:
    for engine in ("vllm", "sglang", "ollama", "tgi", "torch"):
        engines.engine_requirement(engine, text)
    cuda_driver.toolkit(text)
    cuda_driver.max_cuda(text)
    pytorch.cuda_of_local_version(text)
    vllm.knows_model("LlamaForCausalLM", text)
    ollama.default_context(text, 2**40)
    containers.has("toolkit", "jit-cdi", text)
    assert containers.toolkit_cves(text) is not None


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_lookups_by_name_answer(text: str) -> None:
    gpus.nearest_names(text)
    gpus.amd_by_name(text)
    gpus.by_pci_id(text, text)
    engines.image_requirement(text)
    for image in images.table().images:
        engines.image_requirement(f"{image.repository}:{text}")
    assert isinstance(gpus.by_name(text), tuple)
