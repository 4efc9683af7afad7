"""The JSON twins say what their TOML says."""

import msgspec
import pytest

from gpudoctor.matrices import compact, cuda_driver, gpus, ollama, pytorch, signatures, vllm
from gpudoctor.matrices.table import FOLDER, Table, read_toml

TABLES: dict[str, Table] = {
    "cuda_driver": cuda_driver.table(),
    "gpus": gpus.table(),
    "ollama": ollama.table(),
    "pytorch": pytorch.table(),
    "signatures": signatures.table(),
    "vllm": vllm.table(),
}


@pytest.mark.parametrize("name", compact.COMPACT)
def test_twin_is_current(name: str) -> None:
    written = (FOLDER / f"{name}.json").read_bytes()
    assert written == compact.compacted(name), "run: python -m gpudoctor.matrices.compact"


def test_no_other_twin_lies_about() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(compact.COMPACT)


@pytest.mark.parametrize("name", compact.COMPACT)
def test_toml_reads_the_same_without_its_twin(name: str) -> None:
    table = TABLES[name]
    assert msgspec.convert(read_toml(name), type=type(table)) == table
