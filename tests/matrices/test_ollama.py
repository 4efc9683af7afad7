"""The Ollama table: driver floors, runners, default contexts, settings and models by version."""

import pytest

from gpudoctor.matrices import cuda_arch, ollama

GIB = 2**30


def test_every_row_names_a_source_the_table_has() -> None:
    table = ollama.table()
    used = {row.source for row in table.drivers} | {row.source for row in table.runners}
    used |= {row.source for row in table.contexts} | {row.source for row in table.models}
    used |= {row.source for row in table.variables} | {row.source for row in table.never_existed}
    for key in used:
        assert table.source(key).url.startswith("https://")


@pytest.mark.parametrize(
    ("version", "capability", "floor", "enforced"),
    [
        ("0.5.7", (7, 5), None, False),
        ("0.11.10", (7, 5), "531", False),
        ("0.30.10", (7, 5), "531", False),
        ("0.30.10", (6, 1), "570", False),
        ("0.30.11", (7, 5), "550", True),
        ("0.30.11", (6, 1), "570", True),
        ("0.32.15", (7, 0), "550", True),
        ("0.32.15", None, "550", True),
    ],
)
def test_driver_floors(version: str, capability: tuple[int, int] | None, floor: str | None, enforced: bool) -> None:
    rule = ollama.driver_rule(version)
    assert rule is not None
    assert rule.floor(capability) == floor
    assert rule.enforced is enforced


@pytest.mark.parametrize("version", ["0.32.16", "0.33.0", "latest", ""])
def test_unknown_releases(version: str) -> None:
    assert ollama.driver_rule(version) is None
    assert ollama.runners(version) == ()
    assert ollama.default_context(version, 48 * GIB) is None
    assert ollama.llama_cpp_build(version) is None


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("0.5.7", ["cuda_v11", "cuda_v12"]),
        ("0.9.2", ["cuda_v11", "cuda_v12"]),
        ("0.9.3", ["cuda_v12"]),
        ("0.11.11", ["cuda_v12", "cuda_v13"]),
        ("0.32.15", ["cuda_v12", "cuda_v13"]),
    ],
)
def test_runners(version: str, names: list[str]) -> None:
    assert [row.name for row in ollama.runners(version)] == names


def test_runners_reach_their_gpus() -> None:
    old, new = ollama.runners("0.32.15")
    assert cuda_arch.coverage(old.arch_list, (7, 5)) == "native"
    assert cuda_arch.coverage(old.arch_list, (5, 0)) == "ptx"
    assert cuda_arch.coverage(new.arch_list, (7, 5)) == "ptx"
    assert cuda_arch.coverage(new.arch_list, (7, 0)) == "none"
    assert (old.cuda, new.cuda) == ("12.8", "13.0")


@pytest.mark.parametrize(
    ("version", "memory", "gpt_oss", "tokens"),
    [
        ("0.6.6", None, False, 2048),
        ("0.6.7", None, False, 4096),
        ("0.11.10", 192 * GIB, True, 8192),
        ("0.15.4", 192 * GIB, False, 4096),
        ("0.15.5", None, False, None),
        ("0.15.5", 22 * GIB, False, 4096),
        ("0.15.5", 23 * GIB, False, 32768),
        ("0.32.15", 47 * GIB, False, 262144),
        ("0.32.15", 192 * GIB, True, 262144),
    ],
)
def test_default_context(version: str, memory: int | None, gpt_oss: bool, tokens: int | None) -> None:
    assert ollama.default_context(version, memory, gpt_oss=gpt_oss) == tokens


def test_variables() -> None:
    context = ollama.variable("OLLAMA_CONTEXT_LENGTH")
    assert context is not None
    assert (context.since, context.last) == ("0.5.13", None)
    gone = ollama.variable("OLLAMA_MAX_VRAM")
    assert gone is not None
    assert gone.last == "0.6.8"
    assert ollama.variable("OLLAMA_NUM_GPU_LAYERS") is None
    assert ollama.never_existed("OLLAMA_NUM_GPU_LAYERS") is not None
    assert ollama.never_existed("OLLAMA_CONTEXT_LENGTH") is None


def test_no_variable_both_exists_and_never_did() -> None:
    names = {row.name for row in ollama.table().variables}
    assert not names & {row.name for row in ollama.table().never_existed}


@pytest.mark.parametrize(
    ("architecture", "since", "or_earlier"),
    [
        ("gptoss", "0.11.0", False),
        ("qwen3moe", "0.6.6", False),
        ("gemma3", "0.6.0", False),
        ("llama4", "0.6.6", False),
        ("llama", "0.3.13", True),
        ("gemma4", "0.20.0", False),
    ],
)
def test_models(architecture: str, since: str, or_earlier: bool) -> None:
    row = ollama.model(architecture)
    assert row is not None
    assert (row.since, row.or_earlier) == (since, or_earlier)


def test_unknown_model() -> None:
    assert ollama.model("nobody") is None


@pytest.mark.parametrize(("version", "build"), [("0.24.0", None), ("0.30.11", "b9781"), ("0.32.15", "b10488")])
def test_llama_cpp_builds(version: str, build: str | None) -> None:
    assert ollama.llama_cpp_build(version) == build


@pytest.mark.parametrize(
    ("version", "rocm"), [("0.5.12", None), ("0.17.0", "6.3.3"), ("0.20.6", "7.2"), ("0.32.15", "7.2.1")]
)
def test_rocm(version: str, rocm: str | None) -> None:
    assert ollama.rocm_version(version) == rocm
