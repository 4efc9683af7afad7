"""The container table: milestones, faults and vulnerabilities by version."""

import pytest

from gpudoctor.matrices import containers


def test_row_counts() -> None:
    table = containers.table()
    assert len(table.cves) == 10
    assert len(table.bugs) == 10
    assert len(table.milestones) == 20


def test_every_row_names_a_source_the_table_has() -> None:
    table = containers.table()
    used = {row.source for row in table.milestones} | {row.source for row in table.bugs}
    used |= {row.source for row in table.cves}
    for key in used:
        assert table.source(key).url.startswith("https://")


@pytest.mark.parametrize(
    ("product", "key", "version", "answer"),
    [
        ("docker", "cdi-optional", "24.0.7", False),
        ("docker", "cdi-optional", "25.0.0", True),
        ("docker", "cdi-default", "28.1.1", False),
        ("docker", "cdi-default", "28.2.0", True),
        ("docker", "gpus-through-cdi", "5:29.2.0-1~ubuntu.22.04~jammy", True),
        ("docker", "gpus-through-cdi", "28.5.1+dfsg1", False),
        ("docker", "gpus-flag", "?", None),
        ("compose", "gpus-attribute", "v2.29.7", False),
        ("compose", "gpus-attribute", "2.30.0", True),
        ("toolkit", "jit-cdi", "1.13.5-1", False),
        ("toolkit", "jit-cdi", "1.18.0", True),
    ],
)
def test_milestones(product: containers.Product, key: str, version: str, answer: bool | None) -> None:
    assert containers.has(product, key, version) is answer


def test_an_unknown_milestone_is_a_slip_in_our_code() -> None:
    with pytest.raises(KeyError, match="docker: teleport"):
        containers.has("docker", "teleport", "29.0.0")


@pytest.mark.parametrize(
    ("version", "ids"),
    [
        ("1.13.5", 10),
        ("1.16.2", 8),
        ("1.17.4", 3),
        ("1.17.8-1", 1),
        ("1.19.1", 0),
        ("1.20.2", 0),
        ("unknown", 0),
    ],
)
def test_vulnerabilities(version: str, ids: int) -> None:
    assert len(containers.toolkit_cves(version)) == ids


def test_the_recommended_toolkit_has_no_known_vulnerability() -> None:
    assert containers.toolkit_cves(containers.table().recommended_toolkit) == ()


def test_faults() -> None:
    assert [row.fixed for row in containers.toolkit_bugs("1.17.7")] == ["1.17.8", "1.18.2", "1.20.2"]
    assert containers.toolkit_bugs("1.20.2") == ()


@pytest.mark.parametrize(
    ("engine", "version", "answer"),
    [("docker", "26.0.2", False), ("docker", "26.1.0", True), ("podman", "5.1.0", True), ("lxc", "6.0", None)],
)
def test_cdi_0_7(engine: str, version: str, answer: bool | None) -> None:
    assert containers.reads_cdi_0_7(engine, version) is answer
