"""A value taken out of a server's words goes back to that server, and nowhere else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard import Action, Direction, Frame, Guard, Session, Verdict, make_guard
from pipeguard.detect.flows.vault import MAX_BYTES, MAX_SECRET_CHARACTERS, MAX_SECRETS, Vault
from pipeguard.firewall.policy import Layer, Mode, Policy
from pipeguard.firewall.protocol.json_values import JsonObject, Number, serialise
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.placeholders import PLACEHOLDER
from pipeguard.firewall.session.rewrite import redact
from pipeguard.rulebook.samples import expand
from tests.firewall.session.test_rewrite import found as finding
from tests.fuzz.budget import tried
from tests.fuzz.rulebook import engines
from tests.fuzz.values import texts

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT
TOKEN = expand({"gen": "ghp_{b62:30}{github-crc}"}, 7)
PASSWORD = expand({"gen": "{b62:9}#{b62:9}"}, 7)


def guard(key: bytes = b"k" * 32, policy: Policy | None = None) -> Guard:
    return make_guard("demo", engines(), policy or Policy(), {}, key)


def asked(session: Session, number: int, name: str, arguments: JsonObject) -> Verdict:
    params: JsonObject = {"name": name, "arguments": arguments}
    call: JsonObject = {"jsonrpc": "2.0", "id": Number(str(number)), "method": "tools/call"}
    return session.take(Frame(TO_SERVER, serialise({**call, "params": params}), 1.0))


def answered(session: Session, number: int, text: str) -> Verdict:
    result: JsonObject = {"content": [{"type": "text", "text": text}]}
    answer: JsonObject = {"jsonrpc": "2.0", "id": Number(str(number)), "result": result}
    return session.take(Frame(TO_CLIENT, serialise(answer), 1.0))


def said(verdict: Verdict) -> str:
    assert verdict.forward is not None
    text = json.loads(verdict.forward)["result"]["content"][0]["text"]
    assert isinstance(text, str)
    return text


def taken_out(one: Guard, secret: str = TOKEN, around: str = "the key: {}") -> tuple[Session, str]:
    session = Session(one, "RUN")
    asked(session, 1, "read", {})
    text = said(answered(session, 1, around.format(secret)))
    assert secret not in text
    found = PLACEHOLDER.search(text)
    assert found
    return session, found[0]


def test_a_secret_goes_back_to_its_server_and_the_model_never_sees_it() -> None:
    session, made = taken_out(guard())
    verdict = asked(session, 2, "deploy", {"header": f"Bearer {made}", "rows": Number("1.50")})
    assert verdict.forward is not None
    sent = parse_json(verdict.forward)
    assert isinstance(sent, dict)
    assert sent["params"] == {
        "name": "deploy",
        "arguments": {"header": f"Bearer {TOKEN}", "rows": Number("1.50")},
    }
    assert TOKEN.encode() not in verdict.frame
    assert TOKEN not in repr(verdict.findings)
    assert [f.rule for f in verdict.findings] == ["secrets.put-back"]
    assert verdict.action is Action.ALLOW


def test_it_is_never_put_back_for_another_server() -> None:
    _, made = taken_out(guard())
    other = Session(guard(b"o" * 32), "RUN")
    verdict = asked(other, 1, "deploy", {"token": made})
    assert verdict.action is Action.BLOCK
    assert verdict.forward is None
    assert verdict.findings[0].rule == "secrets.foreign-placeholder"
    assert verdict.reply is not None
    assert b"from an earlier session, or from another server" in verdict.reply


def test_two_runs_sign_differently_and_what_is_made_up_is_refused() -> None:
    _, made = taken_out(guard(b"a" * 32))
    _, other = taken_out(guard(b"b" * 32))
    assert made != other
    session, made = taken_out(guard())
    forged = f"{made[:-2]}{'0' if made[-2] != '0' else '1'}]"
    assert asked(session, 2, "deploy", {"token": forged}).action is Action.BLOCK
    assert asked(session, 3, "deploy", {"a": {forged: Number("1")}}).action is Action.BLOCK


def test_without_a_key_nothing_is_put_back() -> None:
    session = Session(make_guard("demo", engines(), Policy(), {}), "RUN")
    asked(session, 1, "read", {})
    assert said(answered(session, 1, f"key: {TOKEN}")) == "key: [redacted:secrets.github-token]"


def test_what_a_server_says_again_is_taken_out_though_its_name_is_gone() -> None:
    session, made = taken_out(guard(), PASSWORD, "DB_PASSWORD={}")
    assert asked(session, 2, "login", {"with": made}).forward is not None
    again = answered(session, 2, f"hello, {PASSWORD}")
    assert said(again) == f"hello, {made}"
    assert again.action is Action.REDACT


def test_elsewhere_a_placeholder_goes_on_as_it_is() -> None:
    session, made = taken_out(guard())
    frame = serialise({"jsonrpc": "2.0", "method": "notifications/x", "params": {"a": made}})
    assert session.take(Frame(TO_SERVER, frame, 1.0)).forward is frame


@pytest.mark.parametrize("action", [Action.ALLOW, Action.WARN, Action.BLOCK])
def test_a_policy_decides_otherwise(action: Action) -> None:
    from pipeguard.firewall.policy import ActionEntry, Selector

    entry = ActionEntry(Selector(rule="secrets.*", place="result.*"), action)
    session = Session(guard(policy=Policy(layers=(Layer(actions=(entry,)),))), "RUN")
    asked(session, 1, "read", {})
    verdict = answered(session, 1, TOKEN)
    assert verdict.action is action
    assert (TOKEN.encode() in (verdict.forward or b"")) is (action is not Action.BLOCK)


def test_in_observe_all_passes() -> None:
    session = Session(guard(policy=Policy(mode=Mode.OBSERVE)), "RUN")
    asked(session, 1, "read", {})
    assert answered(session, 1, TOKEN).action is Action.WARN


@tried(100)
@given(st.lists(texts, max_size=4), texts, texts, st.sampled_from(["1e5", "-0", "1.50"]))
def test_what_is_put_back_equals_what_was_taken_out(
    others: list[str], before: str, after: str, number: str
) -> None:
    vault = Vault(b"k" * 32)
    text = f"{before}{TOKEN}{after}"
    value: JsonObject = {"z": Number(number), "a": text, "others": [*others]}
    start = len(before)
    found = finding(("a",), start, start + len(TOKEN), "secrets.github-token")
    copied = redact(value, [found], lambda found, words, _: vault.placeholder(found.rule, words))
    assert [*copied] == ["z", "a", "others"]
    assert copied["z"] == Number(number)
    assert TOKEN not in str(copied)
    assert isinstance(copied["a"], str)
    assert vault.restore(copied["a"]).text == text


def test_it_remembers_no_more_than_it_may() -> None:
    vault = Vault(b"k")
    first = vault.placeholder("secrets.a", "x1")
    assert vault.placeholder("secrets.a", "x1") == first
    for index in range(MAX_SECRETS):
        vault.placeholder("secrets.a", f"y{index}")
    assert vault.restore(first).unknown_count == 1
    large = "z" * MAX_SECRET_CHARACTERS
    made = [vault.placeholder("secrets.a", large + "!" * 0 + str(i))[:9] for i in range(3)]
    assert set(made) == {"[redacted"}
    kept = [vault.placeholder("secrets.a", large[:-9] + f"{i:09d}") for i in range(20)]
    assert vault.restore(kept[-1]).restored_count == 1
    assert vault.restore(kept[0]).unknown_count == 1
    assert MAX_BYTES < 20 * MAX_SECRET_CHARACTERS


def test_a_placeholder_is_no_secret() -> None:
    _, made = taken_out(guard())
    engine = engines().to_server
    for text in (f"token: {made}", f"password={made}", f"GITHUB_TOKEN: {made}", made):
        seen = engine.scan({"a": text}, lambda _: "call.arguments", Surface.TO_SERVER)
        assert not seen.matches, text
