"""Each change of policy or rules makes exactly its own differences."""

import datetime
from pathlib import Path

import pytest

from pipeguard import Engines
from pipeguard.config.effective_policy import combine_sources
from pipeguard.config.policy_file import PolicyScope, parse_policy
from pipeguard.detect.flows.notes import note_result
from pipeguard.detect.flows.tool_labels import make_tool
from pipeguard.detect.flows.tool_results import ToolResult
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.session.events import Learned
from tests.each import each
from tests.firewall.session import talk
from tests.replay.recording import Recording, list_differences, replay

PLANT = "The plant in the valley closes by spring, the northern one takes over its orders"
TOOLS = [talk.tool(name) for name in ("read_file", "git_push", "read_mail", "http_post")]
# c1 and s1 list the tools, of which the first was approved in other words.
PUSHED, READ, MAILED, MAIL, POSTED, PUSHED_AGAIN, LONG = "c2", "c3", "c4", "s3", "c5", "c6", "s4"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pin = talk.pinned(talk.tool("read_file", "Reads."), name="read_file")
    recording = Recording(tmp_path_factory.mktemp("record"), None, pin)
    answered = talk.answer(1, f"{PLANT}.")
    read = ToolResult(make_tool("read_file", None), answered, 0.0, frozenset())
    recording.take(Learned(note_result(read), 0.0))
    recording.client(talk.frame(id=1, method="tools/list"))
    recording.server(talk.frame(id=1, result={"tools": TOOLS}))
    recording.client(talk.call(2, "main", "git_push"))
    recording.server(talk.answer(2, "Pushed."))
    recording.client(talk.call(3, "a.txt", "read_file"))
    recording.client(talk.call(4, "env", "read_mail"))
    recording.server(talk.answer(4, f"key {talk.KEY}"))
    recording.client(talk.call(5, PLANT, "http_post"))
    recording.client(talk.call(6, "main", "git_push"))
    recording.server(talk.answer(6, "x" * 5000))
    return recording.end()


def parse(text: str) -> Policy:
    today = datetime.date(2026, 9, 1)
    file = parse_policy(text, "draft.yaml", PolicyScope.USER, today=today)
    return combine_sources({PolicyScope.USER: file})


BAD = "{{id: {}, title: t, confidence: high, pattern: {}, matches: [plugh], passes: [plu]}}"
BLOCKED = "policy.tool allow block"
HIDDEN = "s1 policy.tool block block"
CHANGES = {
    "tools: {ask: [git_push]}": {
        "stopped": [f"{PUSHED} policy.ask allow ask", f"{PUSHED_AGAIN} policy.ask allow ask"]
    },
    "tools: {block: [git_push]}": {
        "stopped": [f"{PUSHED} {BLOCKED}", f"{PUSHED_AGAIN} {BLOCKED}"],
        "changed": [HIDDEN],
    },
    "tools: {allow: [read_*, git_*]}": {
        "stopped": [f"{POSTED} policy.tool warn block"],
        "changed": [HIDDEN],
    },
    "actions: [{pack: secrets, action: warn}]": {
        "changed": [f"{MAIL} secrets.github-token redact warn"]
    },
    "exceptions: [{rule: secrets.github-token, server: demo, why: a test}]": {
        "changed": [f"{MAIL} secrets.github-token redact allow"]
    },
    "mode: observe": {
        "passed": ["s1 trust.drifted block warn", f"{READ} trust.drifted block allow"],
        "changed": [f"{MAIL} secrets.github-token redact warn"],
    },
    "trust: review": {
        "stopped": [
            *(f"{event} trust.held allow block" for event in (PUSHED, MAILED)),
            f"{POSTED} trust.held warn block",
            f"{PUSHED_AGAIN} trust.held allow block",
        ],
        "changed": ["s1 trust.held block block"],
    },
    "drift: {allow: [wording]}": {
        "passed": ["s1 trust.drifted block warn", f"{READ} trust.drifted block allow"]
    },
    "limits: {frame: 4 KiB}": {"stopped": [f"{LONG} protocol.frame-too-large allow block"]},
    "flows: server": {"changed": [f"{POSTED} flows.private-out warn allow"]},
    "limits: {timeout: 300 s}": {},
}


@each("text, wanted", {text: (text, wanted) for text, wanted in CHANGES.items()})
def test_a_policy_makes_its_differences(
    file: Path, text: str, wanted: dict[str, list[str]]
) -> None:
    report = replay(file, parse(text))
    shown = list_differences(report)
    assert shown == {kind: [f"RUN0.{line}" for line in lines] for kind, lines in wanted.items()}
    assert (report["frames"], report["calls"]) == (10, 5)


# It is decided on as a definition.
MORE, HELD = ({"stopped": [f"RUN0.s1 {rule} warn block"]} for rule in ("mine.more", "trust.held"))
PACKS = {
    "a rule more": ("rules:", f"rules:\n- {BAD.format('more', 'plugh')}", MORE),
    "a sure rule": ("confidence: medium", "confidence: high", HELD),
    "another pattern": ("plugh", "xyz", {"changed": ["RUN0.s1 mine.odd warn allow"]}),
}


@each("before, after, wanted", PACKS)
def test_rules_make_their_differences(
    tmp_path_factory: pytest.TempPathFactory, before: str, after: str, wanted: dict[str, list[str]]
) -> None:
    packs = talk.PACK, talk.PACK.replace(before, after)
    old, new = (Engines(*(talk.made_of(pack, surface) for surface in Surface)) for pack in packs)
    recording = Recording(tmp_path_factory.mktemp("record"), rules=old)
    recording.client(talk.frame(id=1, method="tools/list"))
    recording.server(talk.frame(id=1, result={"tools": [talk.tool("a", "plugh")]}))
    assert list_differences(replay(recording.end(), rules=new)) == wanted
