"""A person who decides sees where a stopped call goes, and no secret."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeguard import Direction, Frame
from pipeguard.detect import hidden_secrets, shown_call
from pipeguard.detect.detector import get_detection
from pipeguard.detect.flows.known_secrets import KnownSecrets
from pipeguard.detect.flows.readings import list_readings
from pipeguard.detect.scanning.engine import Engine
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, serialise
from pipeguard.state.audit import findings_json
from tests.fuzz.budget import tried
from tests.state.test_grants import CALL, KEY, Conversation

SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": lambda text: json.dumps({"key": f'"{text}"'}),
    "escapes": lambda text: "".join(f"\\u{ord(sign):04x}" for sign in text),
    "base64": lambda text: base64.b64encode(f"the key: {text}".encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "percent": lambda text: "".join(f"%{ord(sign):02x}" for sign in text),
    "reversed": lambda text: text[::-1],
    "spaced": " ".join,
    "commas": ",".join,
    "hex pairs": lambda text: text.encode().hex(" "),
    "groups": lambda text: " ".join(text[at : at + 4] for at in range(0, len(text), 4)),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "store.db"


@tried(20)
@given(
    st.sampled_from(sorted(SPELLINGS)),
    st.sampled_from(["body", "to", "cc", "url"]),
    st.integers(0, 20_000) | st.just(0),
    st.integers(0, len(KEY)),
    st.sampled_from([0, 0, 4, 8]),
)
def test_no_secret_is_recorded(
    place: Path, spelling: str, name: str, before: int, split: int, size: int
) -> None:
    key = SPELLINGS[spelling](KEY)
    url = f"https://{key}@x.example/" if split == 1 else f"https://x.example/?k={key}"
    text = f"{'a ' * (before // 2)} {url}"
    parts: JsonValue = [text[: len(text) - split], text[len(text) - split :]] if split else text
    if size:
        parts = [key[at : at + size] for at in range(0, len(key), size)]
    findings = Conversation(place).order({**CALL, name: parts}).findings
    assume(spelling == "plain" or any(found.rule.startswith("secrets.") for found in findings))
    joined = findings[0].arguments.translate(str.maketrans("", "", '", []'))
    assert not any(KEY[8:24] in read for read in list_readings(f"{findings} {joined}".encode()))


MANY: list[JsonValue] = [f"user{number}@corp.example" for number in range(19)]
LONG = "lorem ipsum " * 5000


TREE: JsonValue = "x"
for _ in range(11):
    TREE = [TREE, TREE]


@pytest.mark.parametrize(
    ("call", "targets", "shown", "unseen"),
    [
        ({"recipients": [*MANY, "audit@bw.example"]}, 1, '"user18@corp.example","audit@bw', 0),
        ({"a": [[[{"to": ["x@y.example"]}]]], "body": "b " * 999}, 2, '"to":["x@y.example"]', 0),
        ({"to": "a" * 10**6, "account": "DE89370400440532013000"}, 3, '"DE893704004405320', 10**5),
        ({"acc\u200bount": "DE89370400440532013000"}, 2, '"acc⟨U+200B⟩ount 1":"DE8', 0),
        ({"reference": "7", "priority": "1", "host": "x"}, 2, 'example"],"reference":"7"', 0),
        (
            {"m": TREE, "n": TREE, "command": "ls", "amount": "5"},
            3,
            '"amount":"5","body":',
            99,
        ),
        ({"amount": Number("1e9")}, 2, '"amount":"1000000000"', 0),
        ({"amount": Number("1e9999999999999999999")}, 2, '"amount":1e9999999999999999999', 0),
        ({"k" * 50 + "1": "a", "k" * 50 + "2": "b"}, 1, '"… 1":"a"', 22),
        ({"body": f"{LONG} pay to DE89370400440532013000"}, 1, '… DE89370400440532013000"', 10**4),
        ({"body": "pay iban DE89370400440532013000\n" * 30}, 1, "iban DE89370400440532013000", 0),
        ({"to": f"{KEY}@y.example"}, 2, '…@y.example"', len(KEY)),
    ],
)
def test_where_a_call_goes_is_shown_first_and_what_is_not_shown_is_counted(
    place: Path, call: JsonObject, targets: int, shown: str, unseen: int
) -> None:
    found = Conversation(place).order({**CALL, **call}).findings[0]
    assert shown in found.arguments
    assert int(found.targets) == targets
    assert json.loads(findings_json([found]))[0]["targets"] == found.targets
    assert (int(found.unseen or 0) >= unseen) if unseen else found.unseen == ""
    assert json.loads(found.arguments).keys() >= json.loads(found.lengths or "{}").keys()
    assert len(found.arguments.encode()) <= shown_call.ARGUMENTS_BYTES


def test_a_secret_of_ours_is_hidden_before_a_text_is_cut(place: Path) -> None:
    secret = "Zk9-known-secret-value-77"
    talk = Conversation(place)
    detection = get_detection(talk.session.guard)
    detection.knowledge = detection.knowledge._replace(known_secrets=KnownSecrets([secret]))
    for at in range(shown_call.ARGUMENTS_BYTES // 2 - 30, shown_call.ARGUMENTS_BYTES // 2, 4):
        found = talk.order({**CALL, "body": f"{'b ' * (at // 2)}{secret} {LONG}"}).findings[0]
        assert "Zk9" not in found.arguments


def test_the_source_of_text_that_leaves_is_shown(place: Path) -> None:
    words = "The offer for the Lindqvist works is 4.7 million, and the plant takes over its orders."
    talk = Conversation(place, inbox=f"Hello. {'Lunch. ' * 99} Confidential: {words} Bye.")
    (found,) = talk.order({**CALL, "body": f"They said: {words}"}).findings
    assert (found.source, found.source_age, found.marked) == (
        "get_inbox of mail",
        "1.0",
        "Confidential",
    )
    assert "The offer for the Lindqvist works" in found.excerpt


def test_the_text_around_a_secret_in_a_result_is_shown(place: Path) -> None:
    talk = Conversation(place)
    talk.call("get_inbox", {})
    text = f"{LONG}def test_login():\n    token = '{KEY}'  # of a fixture\n"
    content: JsonObject = {"content": [{"type": "text", "text": text}]}
    answer = serialise({"jsonrpc": "2.0", "id": talk.last_id, "result": content})
    found = talk.session.take(Frame(Direction.TO_CLIENT, answer, 2.0)).findings[0]
    assert f"token = '{found.excerpt}'  # of a fixture" in found.frame
    assert KEY[8:] not in found.frame


def test_a_call_that_cannot_be_shown_is_stopped_for_its_own_reason(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown_call, "show_call", lambda *_: 1 / 0)
    found = Conversation(place).order(CALL).findings[0]
    assert found.rule == "flows.ordered"
    assert int(found.unseen)


LINKS = "".join(
    f"Reset your password: https://x.example/r?token={at:03}qZ7{at * 7919:016x}Kx\n"
    for at in range(300)
)


@pytest.mark.parametrize("inbox", ["", LINKS])
@pytest.mark.parametrize("count", [1, 400])
def test_a_call_is_read_as_often_however_many_arguments_it_has(
    place: Path, monkeypatch: pytest.MonkeyPatch, inbox: str, count: int
) -> None:
    talk, find_secrets, read = Conversation(place), Engine.find_secrets, list[str]()

    def note(engine: Engine, text: str, without: str) -> list[tuple[int, int, str]]:
        read.append(text)
        return find_secrets(engine, text, without)

    monkeypatch.setattr(Engine, "find_secrets", note)
    talk.read(inbox)
    others: JsonObject = {f"k{at}": f"value {at}" for at in range(count)}
    found = talk.order({**CALL, **others, "body": f"{KEY} {inbox[:80]}"})
    assert '"k0":"value 0"' in found.findings[0].arguments
    assert "token=000qZ7" not in found.findings[0].arguments
    assert len(read) <= 16
    assert sum(map(len, read)) < 16 * (len(found.frame) + 64 * count + 2 * shown_call.SECRET_CHARS)


@pytest.mark.parametrize(("budget", "is_shown"), [(4096, True), (64, False)])
def test_what_exceeds_the_budget_is_dotted(
    place: Path, monkeypatch: pytest.MonkeyPatch, budget: int, is_shown: bool
) -> None:
    monkeypatch.setattr(hidden_secrets, "MASKED_CHARS", budget)
    shown = Conversation(place).order({**CALL, "body": "The quick fox"}).findings[0].arguments
    assert ("The quick fox" in shown) is is_shown
