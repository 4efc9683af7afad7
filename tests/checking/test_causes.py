"""One root cause, its symptoms beneath it."""

from gpudoctor.checking.causes import EXPLAINS, link
from gpudoctor.checking.finding import Finding, Result, Status


def result(check_id: str, status: Status = "fail", subject: str = "host") -> Result:
    return Result(id=check_id, finding=Finding(status=status, subject=subject, message="m"))


def order(*results: Result) -> list[tuple[str, str | None]]:
    return [(r.id, r.caused_by) for r in link(results)]


def test_a_dead_driver_is_one_cause_with_its_symptoms_beneath() -> None:
    seen = order(result("driver.nvml-unusable"), result("gpu.count-short"), result("driver.not-loaded"),
                 result("driver.nouveau-bound"))
    assert seen == [
        ("driver.nouveau-bound", None),
        ("driver.not-loaded", "driver.nouveau-bound"),
        ("driver.nvml-unusable", "driver.not-loaded"),
        ("gpu.count-short", "driver.not-loaded"),
    ]


def test_a_root_cause_comes_before_worse_findings_that_stand_alone_only_by_its_symptoms() -> None:
    graph = {"a.cause": ("a.symptom",)}
    linked = link([result("z.other", "warn"), result("a.symptom", "unknown"), result("a.cause", "warn")], graph)
    assert [r.id for r in linked] == ["z.other", "a.cause", "a.symptom"]
    linked = link([result("z.other", "info"), result("a.symptom", "warn"), result("a.cause", "fail")], graph)
    assert [r.id for r in linked] == ["a.cause", "a.symptom", "z.other"]


def test_a_gpu_explains_only_its_own_symptoms() -> None:
    graph = {"gpu.too-hot": ("gpu.throttled",)}
    linked = link([result("gpu.too-hot", subject="gpu:0"), result("gpu.throttled", subject="gpu:0"),
                   result("gpu.throttled", subject="gpu:1")], graph)
    assert {(r.id, r.subject): r.caused_by for r in linked} == {
        ("gpu.too-hot", "gpu:0"): None,
        ("gpu.throttled", "gpu:0"): "gpu.too-hot",
        ("gpu.throttled", "gpu:1"): None,
    }


def test_a_warning_does_not_explain_a_failure() -> None:
    assert order(result("gpu.xid", "warn"), result("gpu.not-responding")) == [
        ("gpu.not-responding", None),
        ("gpu.xid", None),
    ]


def test_a_setting_that_is_only_a_warning_explains_what_it_breaks() -> None:
    assert order(result("gpu.p2p-broken"), result("host.acs-on", "warn")) == [
        ("host.acs-on", None),
        ("gpu.p2p-broken", "host.acs-on"),
    ]


def test_a_pass_or_skip_is_no_symptom_and_no_cause() -> None:
    assert order(result("driver.not-loaded", "pass"), result("driver.nvml-unusable")) == [
        ("driver.nvml-unusable", None),
        ("driver.not-loaded", None),
    ]


def test_a_gpu_off_the_bus_is_the_cause_of_the_count() -> None:
    seen = dict(order(result("pci.no-gpu"), result("gpu.xid", subject="gpu:3"), result("gpu.count-short")))
    assert seen == {"gpu.xid": None, "pci.no-gpu": "gpu.xid", "gpu.count-short": "gpu.xid"}


def test_no_cycle_however_the_graph_is_drawn() -> None:
    graph = {"a.x": ("a.y",), "a.y": ("a.x",)}
    assert [r.caused_by for r in link([result("a.x"), result("a.y")], graph)] == [None, "a.x"]
    ring = {"a.x": ("a.y",), "a.y": ("a.z",), "a.z": ("a.x",)}
    linked = link([result("a.x"), result("a.y"), result("a.z")], ring)
    assert sorted(r.id for r in linked) == ["a.x", "a.y", "a.z"]
    assert [r.caused_by for r in linked].count(None) == 1


def test_the_shipped_graph_leaves_a_root_for_every_pair() -> None:
    ids = sorted({*EXPLAINS, *(e for symptoms in EXPLAINS.values() for e in symptoms if "*" not in e)})
    for first in ids:
        for second in ids:
            if first != second:
                linked = link([result(first), result(second)])
                assert any(r.caused_by is None for r in linked), (first, second)


def test_order_of_results_is_fail_warn_unknown_info_skip_pass() -> None:
    mixed: list[Status] = ["pass", "info", "skip", "unknown", "warn", "fail"]
    linked = link([result(f"a.{status}", status) for status in mixed])
    assert [r.status for r in linked] == ["fail", "warn", "unknown", "info", "skip", "pass"]
