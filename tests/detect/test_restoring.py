"""Secrets go back to the server that they came from, and nowhere else."""

import pytest

from pipeguard.detect.detector import make_guard
from pipeguard.detect.flows.vault import Vault
from pipeguard.detect.restoring import echoes, has_foreign_placeholder, put_back
from pipeguard.firewall.finding import Action, Direction, Verdict
from pipeguard.firewall.policy import Exempt, Layer, Policy, Selector
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.guard import Context
from tests.fuzz.rulebook import engines

SECRET = "kX82mQz71" + "LpT04vB"


def request(method: str, params: JsonObject) -> Verdict:
    frame = serialise({"id": "1", "method": method, "params": params})
    return Verdict(Direction.TO_SERVER, frame, Action.ALLOW, frame, None, (), "RUN.c1")


@pytest.fixture
def vault() -> Vault:
    return Vault(b"k" * 32)


@pytest.fixture
def placeholder(vault: Vault) -> str:
    made = vault.placeholder("secrets.github-token", SECRET)
    assert made.startswith("[secret:github-token:1:")
    return made


@pytest.mark.parametrize(
    ("method", "member"),
    [("tools/call", "arguments"), ("prompts/get", "arguments"), ("resources/read", "uri")],
)
def test_a_secret_is_put_back_where_a_server_takes_what_a_model_chose(
    vault: Vault, placeholder: str, method: str, member: str
) -> None:
    value: JsonValue = f"a:{placeholder}" if member == "uri" else {"k": [placeholder]}
    sent = put_back(vault, request(method, {"name": placeholder, member: value}))
    assert sent.forward is not None
    params = parse_json(sent.forward)["params"]  # type: ignore[index,call-overload]
    assert SECRET in serialise(params[member]).decode()  # type: ignore[index,call-overload]
    assert params["name"] == placeholder  # type: ignore[index,call-overload]
    assert [finding.rule for finding in sent.findings] == ["secrets.put-back"]


def test_elsewhere_and_of_another_server_it_stays(vault: Vault, placeholder: str) -> None:
    other = Vault(b"o" * 32)
    for verdict in (
        request("tools/list", {"arguments": {"k": placeholder}}),
        request("tools/call", {"name": placeholder}),
        request("tools/call", {"arguments": {"k": "plain"}}),
    ):
        assert put_back(vault, verdict) is verdict
    own = request("tools/call", {"arguments": {"k": placeholder}})
    assert put_back(other, own) is own
    blocked = own._replace(forward=None)
    assert put_back(vault, blocked) is blocked


def test_a_placeholder_of_another_server_is_told(vault: Vault, placeholder: str) -> None:
    value: JsonValue = {"a": ["see", f"({placeholder})"]}
    assert not has_foreign_placeholder(vault, value)
    assert has_foreign_placeholder(Vault(b"o" * 32), value)
    assert has_foreign_placeholder(None, {placeholder: "x"})
    assert not has_foreign_placeholder(None, {"a": "[secrets]"})


def test_what_a_server_repeats_of_it_is_told_with_its_place(vault: Vault, placeholder: str) -> None:
    scope = Context(
        make_guard("demo", engines(), Policy(), {}), "result", "tools/call", 0.0, "echo"
    )
    value: JsonValue = {"result": {"content": [{"text": f"key {SECRET}"}]}}
    frame = serialise(value)
    assert echoes(vault.sent_secrets(), frame, scope, value) == [], "it was never put back"
    put_back(vault, request("tools/call", {"arguments": {"k": placeholder}}))
    (finding,) = echoes(vault.sent_secrets(), frame, scope, value)
    assert (finding.rule, finding.action) == ("secrets.github-token", Action.REDACT)
    assert (finding.pointer, finding.start, finding.end) == ("/result/content/0/text", 4, 20)
    assert echoes(vault.sent_secrets(), b"{}", scope, {}) == []
    allowed = Exempt(Selector(finding.rule, finding.place, "demo", "echo"), "a test")
    guard = make_guard("demo", engines(), Policy(layers=(Layer(exceptions=(allowed,)),)), {})
    assert echoes(vault.sent_secrets(), frame, scope._replace(guard=guard), value) == []
