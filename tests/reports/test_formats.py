"""Every form of a report is taken by its reader's parser or schema, on all recorded machines and a hostile one."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import xmlschema
from junitparser import Error, Failure, JUnitXml, Skipped
from prometheus_client.parser import text_string_to_metric_families

from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.formats import FORMATS, renderer
from gpudoctor.reports.report import Report

from .recorded import MACHINES, counted, hostile, machine

JUNIT = xmlschema.XMLSchema(str(Path(__file__).with_name("junit.xsd")))
Made = tuple[Report, Snapshot]


@pytest.fixture(params=[*MACHINES, "hostile"])
def made(request: pytest.FixtureRequest) -> Made:
    return hostile() if request.param == "hostile" else machine(request.param)


def test_jenkins_schema_takes_the_junit_report_and_its_counts_are_the_report_s(made: Made) -> None:
    text = renderer("junit")(*made)
    JUNIT.validate(text.encode())
    cases = [case for suite in JUnitXml.fromstring(text.encode()) for case in suite]
    kinds = [type(case.result[0]) for case in cases if case.result]
    assert len(cases) == len(made[0].results)
    assert (kinds.count(Failure), kinds.count(Error)) == (counted(made[0], "fail"), counted(made[0], "unknown"))
    assert kinds.count(Skipped) == counted(made[0], "skip") + made[0].summary["accepted"]


def test_prometheus_takes_the_metrics(made: Made) -> None:
    families = {f.name: f for f in text_string_to_metric_families(renderer("prometheus")(*made))}
    counts = {s.labels["status"]: s.value for s in families["gpudoctor_findings"].samples}
    assert counts == made[0].summary
    failing = {s.labels["check"] for s in families["gpudoctor_check_status"].samples if s.value == 2}
    assert failing == {r.id for r in made[0].results if r.status == "fail" and not r.accepted}
    assert all(re.fullmatch(r"[a-z]+\.[a-z0-9-]+", check) for check in failing)


def test_a_monitor_takes_the_line_and_its_figures(made: Made) -> None:
    text = renderer("nagios")(*made)
    first, *others = text.splitlines()
    found = re.fullmatch(r"GPUDOCTOR (OK|WARNING|CRITICAL|UNKNOWN) - [^|]+ \| (.+)", first)
    assert found is not None
    assert found[1] == {"pass": "OK", "warn": "WARNING", "fail": "CRITICAL", "unknown": "UNKNOWN"}[made[0].verdict]
    figure = re.compile(r"([a-z]+)=(\d+(?:\.\d+)?)s?;;;0")
    assert all(figure.fullmatch(each) for each in found[2].split(" "))
    assert not any("|" in line for line in others)


def test_node_problem_detector_gets_one_short_line_of_ascii(made: Made) -> None:
    text = renderer("npd")(*made)
    assert text.endswith("\n")
    assert (text.count("\n"), text.isascii(), len(text) <= 81) == (1, True, True)


def test_actions_get_one_command_per_line_and_no_others(made: Made) -> None:
    *commands, last = renderer("github")(*made).splitlines()
    shape = re.compile(r"::(error|warning|notice) (?:file=[^:,]+,)?(?:line=\d+,)?(?:col=\d+,)?title=[^:,]+::[^\r\n]+")
    assert all(shape.fullmatch(each) for each in commands)
    assert sum(each.startswith("::error") for each in commands) == counted(made[0], "fail")
    assert last.startswith(f"gpudoctor: {made[0].verdict} (")


def test_json_lines_are_the_run_and_the_findings(made: Made) -> None:
    text = renderer("jsonl")(*made)
    run, *findings = [json.loads(line) for line in text.splitlines()]
    assert text.isascii()
    assert run["verdict"] == made[0].verdict
    assert [f["id"] for f in findings] == [r.id for r in made[0].results]


class Page(HTMLParser):
    """Collects what would run or be fetched, and whether tags are closed."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.bad: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.bad += [f"{tag} {name}" for name, _ in attributes if name.startswith("on") or name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.bad.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_stands_alone_and_runs_nothing(made: Made) -> None:
    page = Page()
    page.feed(renderer("html")(*made))
    assert (page.bad, page.open) == ([], [])
    assert not {"script", "iframe", "object", "img", "link", "form", "a"} & set(page.tags)
    for result in made[0].results:
        assert result.id in page.words


def test_markdown_holds_no_html_of_others_and_a_row_for_each_problem(made: Made) -> None:
    text = renderer("markdown")(*made)
    outside = re.sub(r"^ +(`{3,})sh\n.*\n +\1$", "", text, flags=re.MULTILINE)
    tags = set(re.findall(r"</?[a-zA-Z][^>]*>", re.sub(r"<https://[^>]*>", "", outside)))
    assert tags <= {"<details>", "</details>", "<summary>", "</summary>", "<code>", "</code>"}
    rows = [line for line in outside.splitlines() if line.startswith("| ") and not line.startswith("| status")]
    assert len(rows) == sum(counted(made[0], s) for s in ("fail", "warn", "unknown", "info"))


#: The parts of SARIF 2.1.0 that we write, as its schema has them.
SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {"version": {"const": "2.1.0"}, "runs": {"type": "array", "items": {"$ref": "#/$defs/run"}}},
    "$defs": {
        "run": {
            "type": "object",
            "required": ["tool", "results", "invocations"],
            "properties": {
                "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
                "invocations": {"items": {"required": ["executionSuccessful"]}},
            },
        },
        "result": {
            "type": "object",
            "required": ["message", "locations", "ruleId", "ruleIndex", "partialFingerprints"],
            "properties": {
                "level": {"enum": ["none", "note", "warning", "error"]},
                "kind": {"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
                "message": {"required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}},
                "locations": {"minItems": 1, "items": {"$ref": "#/$defs/location"}},
            },
        },
        "location": {
            "properties": {
                "physicalLocation": {
                    "properties": {
                        "artifactLocation": {"properties": {"uri": {"type": "string", "format": "uri-reference"}}},
                        "region": {"properties": {"startLine": {"type": "integer", "minimum": 1}}},
                    }
                }
            }
        },
    },
}


def sarif(made: Made) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(renderer("sarif")(*made))
    jsonschema.validate(log, SARIF)
    return log


def test_code_scanning_gets_what_stands_in_a_file_and_is_told_of_the_rest(made: Made) -> None:
    run = sarif(made)["runs"][0]
    open_problems = [r for r in made[0].results if r.status in ("fail", "warn", "unknown") and not r.accepted]
    placed = [r for r in made[0].results if r.location is not None and r.status not in ("pass", "skip")]
    assert len(run["results"]) == len(placed)
    said = run["invocations"][0]["toolExecutionNotifications"]
    assert len(said) == sum(r.location is None for r in open_problems)
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(rules[each["ruleIndex"]] == each["ruleId"] for each in run["results"])


def test_an_edit_above_a_finding_leaves_its_fingerprint() -> None:
    report, facts = hostile()
    moved = [
        msgspec.structs.replace(r, location=msgspec.structs.replace(r.location, line=900)) if r.location else r
        for r in report.results
    ]
    after = msgspec.structs.replace(report, results=tuple(moved))
    old, new = (
        [json.dumps(each["partialFingerprints"]) for each in sarif((which, facts))["runs"][0]["results"]]
        for which in (report, after)
    )
    assert old == new
    assert len(set(old)) == len(old)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "console"])
def test_nothing_that_a_terminal_obeys_gets_through(name: str) -> None:
    text = renderer(name)(*hostile())
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    text.encode("utf-8")


def test_several_reports_of_one_run(gpudoctor: Callable[..., Any], checkout: Path, tmp_path: Path) -> None:
    forms = [name for name in FORMATS if name != "console"]
    files = [argument for name in forms for argument in ("-o", f"{name}={tmp_path / name}")]
    done = gpudoctor("check", "--snapshot", checkout / "fixtures/no-gpu/snapshot.json", "-qq", *files)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert all("pci.no-gpu" in (tmp_path / name).read_text() for name in forms)


def test_an_unknown_format_is_one_line_that_names_them_all(gpudoctor: Callable[..., Any]) -> None:
    done = gpudoctor("check", "-f", "yaml")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert all(name in done.stderr for name in FORMATS)
