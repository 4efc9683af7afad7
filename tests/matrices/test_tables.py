"""Rules that every table keeps."""

import datetime

import pytest

from gpudoctor.matrices import MATRICES_DATE, TABLES, listing
from gpudoctor.matrices.table import FOLDER, read_toml


def test_every_file_is_listed() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(TABLES)


def test_the_date_is_that_of_the_newest_table() -> None:
    newest = max(info.retrieved for info in listing.tables())
    assert newest.isoformat() == MATRICES_DATE


@pytest.mark.parametrize("info", listing.tables(), ids=lambda info: info.name)
def test_table_has_sources_rows_and_age(info: listing.TableInfo) -> None:
    assert info.rows > 0
    assert info.age_days(info.retrieved + datetime.timedelta(days=7)) == 7
    keys = [source.key for source in info.sources]
    assert len(set(keys)) == len(keys) > 0
    for source in info.sources:
        assert source.url.startswith("https://")


@pytest.mark.parametrize("name", TABLES)
def test_every_row_names_a_source(name: str) -> None:
    content = read_toml(name)
    keys = {source["key"] for source in content["sources"]}
    # A question rests on the signatures that it names, and they have their sources.
    lists = [value for key, value in content.items() if key not in ("sources", "question") and isinstance(value, list)]
    rows = [row for value in lists for row in value if isinstance(row, dict)]
    assert rows
    for row in rows:
        assert row["source"] in keys
