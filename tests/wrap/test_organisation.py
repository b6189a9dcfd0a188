"""What an organisation decides of servers: one never starts, or ends; another needs no review."""

import threading
from pathlib import Path

import pytest

from pipeguard.firewall.pins.fingerprint import fingerprint
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.store import open_store
from tests.bundles import enrol, make_token
from tests.gateway.served import ACTOR, ServedAt, actor, text_of, write_servers
from tests.launch.processes import until
from tests.wrap import server
from tests.wrap.listening import Browser, Listening
from tests.wrap.wrapped import INTERNAL, SERVER, Object, Wrapped, error_code, result

KILL = "servers: {block: ['*']}\n"
ENDED = "may not run: the policy does not allow it"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text("mode: observe\n")
    return path


def message_of(answer: Object) -> str:
    error = answer.get("error")
    assert isinstance(error, dict), answer
    return str(error["message"])


def stopped_rows(store: Path) -> int:
    with open_store(store) as opened:
        return len(list(rows(opened, AuditFilter(rule="policy.server"))))


@pytest.mark.parametrize(
    ("name", "origin", "text"),
    [
        ("policy.yaml", "the policy", "servers: {block: ['code *']}"),
        (".pipeguard.yaml", "the project's policy", 'servers: {"bl\\u006fck": ["*"]}'),
        ("", "the organisation's policy", "servers: {allow: ['program touch', npm *]}"),
    ],
)
@pytest.mark.parametrize("option", ["--observe", "--listen=127.0.0.1:0"])
def test_a_server_that_a_policy_does_not_allow_is_never_started(
    tmp_path: Path, policy: Path, name: str, origin: str, text: str, option: str
) -> None:
    enrol(tmp_path / "config" / "pipeguard", make_token("" if name else text))
    (tmp_path / (name or "other.yaml")).write_text(text)
    options = "--name", "touch", "--policy", str(policy), option
    command = "sh", "-c", f"touch {tmp_path}/started"
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    with Wrapped(tmp_path, options=options, command=command, environment=environment) as wrapped:
        if not option.startswith("--listen"):
            answer = wrapped.ask("initialize")
            assert error_code(answer) == INTERNAL
            assert f"code sh may not run: {origin} does not allow it" in message_of(answer)
        assert wrapped.code() == 2
        assert f"code sh may not run: {origin} does not allow it." in wrapped.said()
    assert not (tmp_path / "started").exists()


def test_an_allowed_server_runs_and_a_variable_that_loads_code_does_not(
    tmp_path: Path, policy: Path
) -> None:
    policy.write_text("servers: {allow: ['path *'], block: [npm evil]}\n")
    options = "--policy", str(policy)
    given = Wrapped(tmp_path, options=options, environment={"NODE_OPTIONS": "x"})
    with given as wrapped:
        assert "option python -I may" not in wrapped.said()
        assert "variable NODE_OPTIONS may not run" in message_of(wrapped.ask("initialize"))
        assert wrapped.code() == 2
    with Wrapped(tmp_path, options=options).opened() as wrapped:
        wrapped.end()


@pytest.mark.parametrize("words", [(), ("ignore-sigterm",)])
def test_a_running_server_ends_and_requests_are_told_why(
    tmp_path: Path, policy: Path, words: tuple[str, ...]
) -> None:
    options = "--policy", str(policy), "--grace", "3600"
    with Wrapped(tmp_path, *words, options=options).opened() as wrapped:
        open_ = wrapped.request("do/nothing")
        wrapped.ask("do/echo")
        policy.write_text(KILL)
        assert ENDED in message_of(wrapped.answer(open_))
        frames = wrapped.seen + wrapped.frames_to_the_end()
        (notice,) = (each for each in frames if each.get("method") == "notifications/message")
        assert ENDED in str(notice)
        assert wrapped.code() == 2
        (line,) = (each for each in wrapped.said().splitlines() if each.startswith("pipeguard: "))
        assert ENDED in line
        assert stopped_rows(wrapped.store) == 1


def test_a_listener_answers_with_the_reason_and_ends(tmp_path: Path, policy: Path) -> None:
    answers = list[Object]()
    with Listening(tmp_path, ("--policy", str(policy), "--grace", "3600"), ACTOR) as at:
        client = Browser(at.url).open()
        client.ask("do/echo")
        waiting = threading.Thread(
            target=lambda: answers.append(client.ask("do/nothing")), daemon=True
        )
        waiting.start()
        policy.write_text(KILL)
        assert at.process.wait(60) == 2
        waiting.join()
        assert ENDED in message_of(answers[0])
        assert stopped_rows(at.store) == 1


def test_a_gateway_ends_its_servers_and_starts_them_again(tmp_path: Path, policy: Path) -> None:
    config = write_servers(tmp_path, {"one": actor(), "two": actor("two")}, mode="direct")
    with ServedAt(tmp_path, "--config", str(config), PIPEGUARD_POLICY=str(policy)) as served:
        client = Browser(served.url).open()

        def call(name: str) -> str:
            answer = client.ask("tools/call", name=name, arguments={"text": "was run"})
            return text_of(answer) if "result" in answer else message_of(answer)

        until(lambda: "was run" in call("one__echo") + call("two__echo"), "both run")
        policy.write_text(KILL)
        until(lambda: ENDED in call("one__echo"), "the first is stopped")
        until(lambda: ENDED in call("two__echo"), "the second is stopped")
        assert client.ask("tools/list")["result"]
        assert stopped_rows(served.store) == 2
        policy.write_text("mode: observe\n")
        until(lambda: "was run" in call("one__echo"), "the policy lets it run again")


def test_a_definition_that_the_organisation_approved_needs_no_review(tmp_path: Path) -> None:
    approved = f"path {SERVER} {fingerprint(server.tool())}"
    folder = tmp_path / "config" / "pipeguard"
    enrol(folder, make_token(approved=[f"path {SERVER}.bak {approved[-64:]}"]))
    given = Wrapped(
        tmp_path,
        options=("--name", "demo", "--trust", "review"),
        command=("python3", "-I", str(SERVER)),
        environment={"XDG_CONFIG_HOME": str(folder.parent)},
    )
    with given.opened() as wrapped:
        assert result(wrapped.ask("tools/list"))["tools"] == []
        enrol(folder, make_token(version=2, approved=[approved]))
        while wrapped.frame().get("method") != "notifications/tools/list_changed":
            pass
        assert result(wrapped.ask("tools/list"))["tools"] == [server.tool()]
        called = result(wrapped.ask("tools/call", name="echo", arguments={"text": "was run"}))
        assert "was run" in str(called)
        wrapped.end()
        with open_store(wrapped.store) as store:
            assert store.pins("demo")["tool", "echo"].is_reviewed
