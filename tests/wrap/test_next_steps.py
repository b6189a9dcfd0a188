"""The log's advice is followed, and then the message passes; or no remedy exists."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

from tests.launch.processes import until
from tests.wrap.deciding import decide
from tests.wrap.server import KEY
from tests.wrap.wrapped import Object, Wrapped, result

OPTIONS = ("--name", "demo", "--log-format", "json", "--log-level", "info")


class Stopped:
    """A real `wrap` with a policy of its own, which stops something.

    Args:
        folder: for its state and its policy.
        policy: the policy's text.
        options: further options of `wrap`.
    """

    def __init__(self, folder: Path, policy: str = "", *options: str) -> None:
        self.folder = folder
        self.policy = folder / "config" / "policy.yaml"
        self.policy.parent.mkdir(exist_ok=True)
        self.policy.write_text(policy)
        self.policy.chmod(0o600)
        self.options = (*OPTIONS, *options)
        self.environment = {"PIPEGUARD_POLICY": str(self.policy)}

    def wrapped(self) -> Wrapped:
        return Wrapped(self.folder, options=self.options, environment=self.environment)

    def advice(self, act: Callable[[Wrapped], object]) -> tuple[str, str]:
        """Return the rule that stops an act, and the command that the log names."""
        with self.wrapped() as wrapped:
            wrapped.initialize()
            act(wrapped)
            until(lambda: '"explain"' in wrapped.said(), "the log says what to do")
            wrapped.end()
            lines = [json.loads(line) for line in wrapped.said().splitlines()]
        told = next(line for line in lines if "explain" in line)
        return told["event"].split()[-1], told.get("how_to_allow", told["explain"])

    def run(self, command: str, *more: str) -> str:
        """Return a command's output, as the log printed it."""
        program, *words = shlex.split(command)
        assert program == "pipeguard"
        code, shown = decide(self.folder / "state", *words, *more, environment=self.environment)
        assert code == 0, shown
        return " ".join(shown.split())


def call(text: str) -> Callable[[Wrapped], Object]:
    return lambda wrapped: wrapped.ask("tools/call", name="echo", arguments={"text": text})


def passes(stopped: Stopped, act: Callable[[Wrapped], Object]) -> bool:
    with stopped.wrapped() as wrapped:
        wrapped.initialize()
        answer = act(wrapped)
        return "error" not in answer and "isError" not in result(answer)


def test_a_false_alarm_is_allowed_as_the_log_says(tmp_path: Path) -> None:
    stopped, act = Stopped(tmp_path), call(f"use {KEY} for it")
    rule, command = stopped.advice(act)
    assert rule == "secrets.aws-access-key-id"
    assert command.startswith("pipeguard allow ")
    stopped.run(command, "--why", "a test")
    assert passes(stopped, act)


def test_who_decides_about_a_call_sees_what_differs_from_those_that_passed(tmp_path: Path) -> None:
    def act(wrapped: Wrapped) -> Object:
        for text in (f"key {KEY}", "Minutes of Monday", "Minutes of Tuesday"):
            passing: Object = {"text": text, "command": "ls /srv"}
            wrapped.ask("tools/call", name="echo", arguments=passing)
        stopping: Object = {"text": "Minutes of Monday", "command": "rm -rf /", "to": "eve"}
        return wrapped.ask("tools/call", name="echo", arguments=stopping)

    stopped = Stopped(tmp_path, "actions: [{rule: secrets.*, action: allow}]\n")
    rule, command = stopped.advice(act)
    assert rule.startswith("commands.")
    event = command.split()[-1]
    new = 'to: "eve" (new)'
    changed = 'command: "rm -rf /" (last allowed: "ls /srv", 2 calls)'
    shown = stopped.run(command, "--by", "call", "--dry-run")
    assert f"Differs {new} Differs {changed}" in shown
    assert KEY not in shown
    explained = stopped.run(f"pipeguard explain {event}")
    assert f"Differs {new}" in explained
    assert f"Differs {changed}" in explained
    given = json.loads(stopped.run(command, "--by", "call", "--dry-run", "--json"))
    assert given["differs"] == [new, changed]
    told = json.loads(stopped.run(f"pipeguard explain {event}", "--json"))
    assert told["findings"][0]["differs"].splitlines() == [new, changed]
    store = b"".join(each.read_bytes() for each in (tmp_path / "state").glob("pipeguard.db*"))
    assert b"Minutes of Tuesday" not in store, "nothing is written down of a call that passed"


def test_a_tool_that_the_policy_blocks_is_allowed_by_the_policy(tmp_path: Path) -> None:
    stopped = Stopped(tmp_path, "tools: {block: [echo]}\n")
    rule, command = stopped.advice(call("hello"))
    assert rule == "policy.tool"
    assert "policy.tool: " in stopped.run(command)
    path = Path(stopped.run("pipeguard policy path"))
    path.write_text(path.read_text().replace("echo", "other"))
    assert passes(stopped, call("hello"))


def test_a_projects_file_allows_what_it_blocked_after_a_restart(tmp_path: Path) -> None:
    stopped = Stopped(tmp_path, "# mine\n")
    project = tmp_path / ".pipeguard.yaml"
    project.write_text("tools: {block: [echo]}\n")
    rule, command = stopped.advice(call("hello"))
    assert rule == "policy.tool"
    shown = " ".join(stopped.run(command).split())
    assert "Only after a change of the project's, restart the server." in shown
    project.write_text("tools: {block: [other]}\n")
    assert passes(stopped, call("hello")), "in a run of its own"


def test_what_waits_is_shown_and_approved_as_the_log_says(tmp_path: Path) -> None:
    stopped = Stopped(tmp_path, "trust: review\n")

    def use(wrapped: Wrapped) -> Object:
        wrapped.ask("tools/list")
        return call("hello")(wrapped)

    rule, command = stopped.advice(use)
    assert (rule, command) == ("trust.held", "pipeguard diff demo/echo")
    program, *words = shlex.split(command)
    code, shown = decide(tmp_path / "state", *words)
    assert (program, code) == ("pipeguard", 1), "something waits"
    assert "pipeguard approve demo/echo" in shown
    stopped.run("pipeguard approve demo/echo", "--yes")
    assert passes(stopped, call("hello"))


DUPLICATE = b'{"jsonrpc":"2.0","id":9,"id":9,"method":"do/nothing"}\n'


def test_where_nothing_helps_it_says_so(tmp_path: Path) -> None:
    stopped = Stopped(tmp_path, "trust: review\n")
    rule, command = stopped.advice(
        lambda wrapped: wrapped.ask("tools/call", name="nobody-has-it", arguments={})
    )
    assert rule == "trust.not-offered"
    assert "there is nothing to approve" in stopped.run(command)
    rule, command = stopped.advice(lambda wrapped: wrapped.send(DUPLICATE))
    assert rule == "protocol.duplicate-key"
    assert "no exception lets it pass" in stopped.run(command)
    placeholder = f"[secret:aws-access-key-id:1:{'0123' * 4}]"
    rule, command = stopped.advice(lambda wrapped: wrapped.ask("do/echo", text=placeholder))
    assert rule == "secrets.foreign-placeholder"
    assert "No exception puts a secret back" in stopped.run(command)


def test_without_an_audit_no_event_is_named_that_nobody_finds(tmp_path: Path) -> None:
    stopped = Stopped(tmp_path, "", "--no-audit")
    rule, command = stopped.advice(call(f"use {KEY} for it"))
    assert command == f"pipeguard explain {rule}"
    assert "allow the event" in stopped.run(command)
