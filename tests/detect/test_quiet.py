"""Ordinary calls pass, and harmful ones are stopped.

The calls of `quiet.yaml` and `stopped.yaml` are played through a session with all rules and the
policy of somebody who has no policy file. Knows no rule by name.
"""

import ast
import json
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from pydoc_data import topics

import pytest
import yaml

from pipeguard import Frame, Guard, Policy, Session, make_guard
from pipeguard.detect.rules.rule import Rule, View, Written, load_pack
from pipeguard.firewall.finding import Action, Confidence, Direction, Severity
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from tests.detect.text.messages import judge_list
from tests.fuzz.rulebook import engines

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MOST_WARNINGS = 0.015  # of the calls that are not stopped
PIECE = 8000  # characters of the standard library's text that are sent at a time


@pytest.fixture
def guard() -> Guard:
    """A guard of the test's own: no test may send data that another one has read."""
    return make_guard("demo", engines(), Policy(), {})


def action(guard: Guard, tool: str, arguments: JsonValue) -> Action:
    call = {"name": tool, "arguments": arguments}
    frame = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    text = json.dumps(frame, ensure_ascii=False).encode()
    return Session(guard, "RUN").take(Frame(Direction.TO_SERVER, text, 0.0)).action


@cache
def calls(name: str) -> dict[str, list[JsonObject]]:
    found: dict[str, list[JsonObject]] = yaml.load((HERE / name).read_bytes(), yaml.CSafeLoader)
    return found


def told(guard: Guard, ordinary: list[tuple[str, JsonValue]]) -> dict[Action, list[str]]:
    """Return the calls by action, except those that passed without a finding."""
    found: dict[Action, list[str]] = {}
    for tool, arguments in ordinary:
        became = action(guard, tool, arguments)
        if became is not Action.ALLOW:
            found.setdefault(became, []).append(f"{tool} {json.dumps(arguments)[:160]}")
    return found


def test_ordinary_definitions_are_offered() -> None:
    texts = map(str, calls("quiet.yaml")["definitions"])
    assert [text for text in texts if judge_list(text).action > Action.WARN] == []


def test_a_check_by_a_tool_of_the_same_list_is_ordinary() -> None:
    order = "Applies a plan. For validation, `{}` must be called first."
    assert judge_list("Checks a plan.", order.format("tool_0")).action is Action.WARN
    assert judge_list("Checks a plan.", order.format("check_plan")).action is Action.BLOCK
    foreign = "Before `tool_0` is used for validation, also call log_event."
    assert judge_list("Checks a plan.", foreign).action is Action.BLOCK


def test_ordinary_calls_pass_and_few_are_warned_of(guard: Guard) -> None:
    ordinary = [(str(one["tool"]), one["arguments"]) for one in calls("quiet.yaml")["calls"]]
    found = told(guard, ordinary)
    warned = found.pop(Action.WARN, [])
    assert found == {}
    assert len(warned) <= MOST_WARNINGS * len(ordinary), warned


def test_changes_that_keep_the_guard_pass(guard: Guard) -> None:
    changes = [(str(one["tool"]), one["arguments"]) for one in calls("quiet.yaml")["clients"]]
    assert told(guard, changes).keys() <= {Action.WARN}


def test_a_document_may_say_anything_where_it_is_written_sent_or_looked_at(guard: Guard) -> None:
    ordinary: list[tuple[str, JsonValue]] = []
    for name, text in calls("quiet.yaml")["docs"].items():  # type: ignore[attr-defined]
        ordinary += [
            ("write_file", {"path": f"/srv/app/{name}", "content": text}),
            ("edit_file", {"path": name, "edits": [{"oldText": text[:60], "newText": text}]}),
            ("push_files", {"branch": "x", "files": [{"path": name, "content": text}]}),
            ("add_comment", {"issue": "4", "body": text}),
            ("send_email", {"to": "a@mail.example", "subject": name, "body": text}),
            ("store_memory", {"key": "note", "value": text}),
            ("review_code", {"code": text}),
            ("translate", {"text": text, "target": "de"}),
            ("embed", {"input": text}),
            ("think", {"thought": text}),
            ("update_document", {"id": "1", "document": {"blocks": [{"text": text}]}}),
        ]
    assert told(guard, ordinary) == {}


@pytest.mark.parametrize(
    "line",
    [
        "DATABASE_URL=postgres://app:${DB_PASSWORD}@db.internal:5432/app",
        "redis://cache.internal:6379",
        "consul at http://consul.service.consul:8500/ui",
    ],
)
def test_a_file_of_one_line_may_name_an_inner_address(guard: Guard, line: str) -> None:
    assert action(guard, "write_file", {"path": ".env", "content": line}) is not Action.BLOCK
    assert action(guard, "fetch_page", {"url": "http://vault.internal:8200/v1"}) is Action.BLOCK


def test_the_manual_of_python_may_be_written_and_sent(guard: Guard) -> None:
    whole = "\n".join(library_text())
    pieces = (whole[at : at + PIECE] for at in range(0, len(whole), PIECE))
    kinds = cycle((("write_file", "content"), ("send_message", "text"), ("create_page", "body")))
    sent = islice(zip(pieces, kinds, strict=False), 60)
    ordinary: list[tuple[str, JsonValue]] = [(tool, {key: one}) for one, (tool, key) in sent]
    assert told(guard, ordinary).keys() <= {Action.WARN}


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])  # docs/rules/ quotes attacks


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_an_agent_may_read_what_is_written_about_the_guard(guard: Guard, page: Path) -> None:
    talk = Session(guard, "RUN")
    call = {"method": "tools/call", "params": {"name": "read_page", "arguments": {}}}
    said = {"content": [{"type": "text", "text": page.read_text(encoding="utf-8")}]}
    verdicts = [
        talk.take(Frame(way, json.dumps({"jsonrpc": "2.0", "id": 1, **message}).encode(), 0.0))
        for way, message in ((Direction.TO_SERVER, call), (Direction.TO_CLIENT, {"result": said}))
    ]
    verdict = verdicts[-1]
    assert verdict.forward is not None
    assert [f.rule for f in verdict.findings if f.action > Action.WARN] == []


@pytest.mark.parametrize("kind", calls("stopped.yaml"))
def test_calls_that_do_harm_are_stopped(guard: Guard, kind: str) -> None:
    passed = [
        one
        for one in calls("stopped.yaml")[kind]
        if action(guard, str(one["tool"]), one["arguments"]) is not Action.BLOCK
    ]
    assert passed == []


def test_a_megabyte_of_real_code_holds_no_secret_in_pieces(guard: Guard) -> None:
    """Joined words of literals look like random letters now and then."""
    folder = Path(json.__file__).parent.parent
    code = "\n".join(path.read_text("utf-8", "replace") for path in sorted(folder.glob("*.py")))
    arguments: JsonValue = {"path": "all.py", "content": code[:1_000_000]}
    assert action(guard, "write_file", arguments) is Action.ALLOW


RULES = Path(__file__).parents[2] / "rules"
TOPICS = 8  # of the manual that `help()` shows, spread over it
# Modules whose docstrings speak of files, commands, passwords, mail, addresses and hidden things.
MODULES = (
    *("argparse", "cmd", "email/message", "getpass", "http/client", "http/cookiejar", "netrc"),
    *("os", "pathlib", "pdb", "shutil", "smtplib", "subprocess", "tempfile", "urllib/request"),
)


def library_text() -> Iterator[str]:
    """Pages of the reference manual, then docstrings."""
    pages = list(topics.topics.values())
    yield from islice(pages, 0, None, max(1, len(pages) // TOPICS))
    for name in MODULES:
        source = (Path(sysconfig.get_path("stdlib")) / f"{name}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield ast.get_docstring(node) or ""


def blocking(pack: str) -> list[Rule]:
    """Return the rules that block by default and look at the plain text."""
    return [
        rule
        for rule in load_pack((RULES / f"{pack}.yaml").read_text(encoding="utf-8"), pack)
        if rule.severity >= Severity.HIGH
        and rule.confidence is Confidence.HIGH
        and View.TEXT in rule.views
        and rule.written is Written.KEEP
        and rule.pattern
    ]


@pytest.fixture(scope="module")
def text() -> bytes:
    joined = "\n".join(library_text()).encode("utf-8")
    assert len(joined) > 100_000, "too little text to prove anything"
    return joined


@pytest.mark.parametrize("pack", ["injection", "poisoning"])
def test_no_blocking_rule_matches_the_standard_library(pack: str, text: bytes) -> None:
    rules = blocking(pack)
    assert rules
    found = {}
    for rule in rules:
        flags = re.ASCII | (re.IGNORECASE if rule.ignore_case else 0)
        if match := re.search(rule.pattern.encode("utf-8"), text, flags):
            found[rule.id] = match[0][:120]
    assert found == {}
