"""The JSON twins say what their TOML says."""

import pytest

from gpudoctor.matrices import compact
from gpudoctor.matrices.table import FOLDER


@pytest.mark.parametrize("name", compact.COMPACT)
def test_twin_is_current(name: str) -> None:
    written = (FOLDER / f"{name}.json").read_bytes()
    assert written == compact.compacted(name), "run: python -m gpudoctor.matrices.compact"


def test_no_other_twin_lies_about() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(compact.COMPACT)
