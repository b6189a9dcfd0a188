"""The settings of a running wrap, by options, policy, environment and the store, take effect."""

import json
import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest

from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.state import recorder
from pipeguard.state.audit import Audit, AuditFilter, AuditRow, rows
from pipeguard.state.store import open_store
from pipeguard.state.verification import verify
from tests.launch.processes import until
from tests.state.test_retention import entry_of
from tests.wrap.deciding import decide
from tests.wrap.server import KEY
from tests.wrap.wrapped import (
    INTERNAL,
    PYTHON,
    SERVER,
    SMALL_BACKLOG,
    Json,
    Object,
    Wrapped,
    error_code,
    result,
)


def told(tmp_path: Path, *options: str, environment: dict[str, str] | None = None) -> Object:
    """The environment that the server has."""
    with Wrapped(tmp_path, options=options, environment=environment) as wrapped:
        return result(wrapped.ask("do/environment"))


def audited(wrapped: Wrapped, name: str = "demo") -> list[AuditRow]:
    with open_store(wrapped.store) as store:
        return list(rows(store, AuditFilter(server=name)))


def pins(wrapped: Wrapped, name: str = "demo") -> dict[tuple[str, str], Pin]:
    with open_store(wrapped.store) as store:
        return store.pins(name)


def governed(folder: Path, policy: str, *options: str) -> Wrapped:
    """A run by a policy of its own, in `policy.yaml`."""
    path = folder / "policy.yaml"
    path.write_text(policy)
    return Wrapped(folder, options=("--name", "demo", "--policy", str(path), *options))


def leaks(wrapped: Wrapped) -> Object:
    return wrapped.ask("tools/call", name="echo", arguments={"text": f"use {KEY} for it"})


# --- the environment --------------------------------------------------------------------


def test_what_the_client_has_itself_is_withheld_but_for_what_is_named(tmp_path: Path) -> None:
    # The client is this very process: what it was started with is not for the server.
    inherited = Path(f"/proc/{os.getpid()}/environ").read_bytes().split(b"\0")
    names = {entry.partition(b"=")[0].decode() for entry in inherited if entry}
    private = sorted(names - {"PATH", "HOME", "LANG", "USER", "TERM", "SHELL", "PWD", "SHLVL", "_"})
    entry = {"DEMO_API_KEY": "from-the-entry", "PIPEGUARD_SOMETHING": "ours"}
    got = told(tmp_path, "--env", "DEMO_GIVEN=1", "--env", "PATH", environment={**entry})
    assert (got["DEMO_GIVEN"], got["DEMO_API_KEY"]) == ("1", "from-the-entry")
    assert "PATH" in got
    assert not [name for name in private if name in got and os.environ[name] != got[name]]
    everything = told(tmp_path, "--inherit-env", environment={**entry})
    assert {name for name in os.environ if not name.startswith("PIPEGUARD_")} <= everything.keys()
    for variables in (got, everything):
        assert not [name for name in variables if name.startswith("PIPEGUARD_")]


def test_a_missing_variable_is_told_and_the_folder_is_right(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    options = ("--env", "NO_SUCH_VARIABLE", "--cwd", str(folder))
    with Wrapped(tmp_path, options=options).opened() as wrapped:
        assert result(wrapped.ask("do/directory"))["directory"] == str(folder.resolve())
        wrapped.end()
        assert wrapped.said() == ("pipeguard: --env NO_SUCH_VARIABLE: this variable is not set.\n")


def test_a_server_that_was_ended_is_not_said_to_miss_anything(tmp_path: Path) -> None:
    with Wrapped(tmp_path, "sleep", options=("--grace", "0.1")) as wrapped:
        until(wrapped.is_idle, "it runs")
        wrapped.hang_up()
        assert wrapped.code() == 143
        assert wrapped.said() == ""


def test_a_module_in_pythonpath_or_the_folder_is_the_servers_and_not_ours(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    witness = tmp_path / "witness"
    evil = f"import os, sys\nwith open({str(witness)!r}, 'a') as f: f.write(' '.join(sys.argv))\n"
    for name in ("json", "threading", "queue", "hashlib", "hyperscan", "click", "dataclasses"):
        (hostile / f"{name}.py").write_text(evil + "raise SystemExit(66)\n")
        (tmp_path / f"{name}.py").write_text(evil + "raise SystemExit(66)\n")
    environment = {"PYTHONPATH": str(hostile), "COVERAGE_PROCESS_START": None}
    environment["COVERAGE_PROCESS_CONFIG"] = None  # coverage itself imports json
    plain = (sys.executable, "-m", "pipeguard")  # as a client would start it: no -E, no -P
    with Wrapped(tmp_path, pipeguard=plain, environment=environment).opened() as wrapped:
        assert result(wrapped.ask("do/environment"))["PYTHONPATH"] == str(hostile)
        wrapped.end()
    assert not witness.exists()


# --- policy and its options -------------------------------------------------------------


def test_observed_a_secret_passes_and_is_recorded(tmp_path: Path) -> None:
    with Wrapped(tmp_path, options=("--name", "demo", "--observe")).opened() as wrapped:
        assert KEY in str(leaks(wrapped))
        wrapped.end()
        found = [row.entry for row in audited(wrapped) if "aws" in row.entry.findings]
        assert {entry.action for entry in found} == {"warn"}
        assert '"would":"block"' in found[0].findings
        started, *_, ended = wrapped.said().splitlines()
        assert "observing: no rule stops anything" in started
        assert "initialize" not in wrapped.said(), "that is for a trace"
        assert "the session has ended" in ended
        assert "would_be_stopped=" in ended
        with open_store(wrapped.store) as store:
            would = [row.entry.event for row in rows(store, AuditFilter(would="block"))]
        assert found[0].event in would
        assert len(would) < len(audited(wrapped))


def test_a_policy_file_is_obeyed(tmp_path: Path) -> None:
    with governed(tmp_path, "actions:\n- {pack: secrets, action: redact}\n").opened() as wrapped:
        answer = leaks(wrapped)
        assert "isError" not in result(answer)
        assert KEY not in str(answer)


def test_a_blocked_tool_is_pinned_and_listed_once_allowed(tmp_path: Path) -> None:
    with governed(tmp_path, "tools: {block: [ech*]}\n").opened() as wrapped:
        assert listed(wrapped) == []
        call = wrapped.ask("tools/call", name="echo", arguments={"text": "hello"})
        assert "the policy does not allow the tool 'echo'" in str(result(call))
        until(lambda: ("tool", "echo") in pins(wrapped), "it is pinned")
        (tmp_path / "policy.yaml").write_text("mode: enforce\n")
        assert wrapped.frame()["method"] == "notifications/tools/list_changed"
        assert "Returns its text." in str(listed(wrapped))


def test_without_an_audit_pins_are_kept_all_the_same(tmp_path: Path) -> None:
    with Wrapped(tmp_path, options=("--name", "demo", "--no-audit")).opened() as wrapped:
        wrapped.ask("tools/list")
        leaks(wrapped)
        wrapped.end()
        assert ("tool", "echo") in pins(wrapped)
        assert audited(wrapped) == []
        assert "secrets.aws-access-key-id" in wrapped.said()


def test_the_audit_has_every_frame_with_the_clients_name(tmp_path: Path) -> None:
    with Wrapped(tmp_path).opened() as wrapped:
        wrapped.ask("tools/list")
        wrapped.end()
        entries = [row.entry for row in audited(wrapped)]
        assert [entry.method for entry in entries if entry.direction == "to-server"] == [
            "initialize",
            "notifications/initialized",
            "tools/list",
        ]
        assert {entry.client for entry in entries} == {"tests 1"}


def test_a_log_that_is_off_says_nothing(tmp_path: Path) -> None:
    with Wrapped(tmp_path, options=("--log-level", "off")).opened() as wrapped:
        leaks(wrapped)
        wrapped.end()
        assert wrapped.said() == ""


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--grace", "soon"), "--grace soon: give a number from 0 to 3600, such as 2."),
        (("--log-level", "loud"), "--log-level loud: choose from debug, info"),
        (("--policy", "/no/such/policy"), "/no/such/policy cannot be read"),
    ],
)
def test_what_is_wrong_is_told_on_stderr_and_to_whoever_asks(
    tmp_path: Path, options: tuple[str, str], why: str
) -> None:
    with Wrapped(tmp_path, options=options) as wrapped:
        id_ = wrapped.request("initialize")
        answer = wrapped.answer(id_)
        assert error_code(answer) == INTERNAL
        assert why in str(answer)
        wrapped.hang_up()
        assert wrapped.code() == 2
        assert wrapped.said().startswith(f"pipeguard: {why}")


def test_a_wrong_policy_names_line_and_key_and_ends_the_server(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("mode: enforce\ntrusst: review\n")
    with Wrapped(tmp_path, "stubborn", options=("--policy", str(policy))) as wrapped:
        wrapped.hang_up()
        assert wrapped.frames_to_the_end() == []
        assert wrapped.code() == 2
        assert f"{policy} has one error:\n  line 2, column 1: trusst" in wrapped.said()
        assert wrapped.running() == []


def test_who_asks_is_told_what_is_wrong_and_of_no_command(tmp_path: Path) -> None:
    environment = {
        "TOKEN": "keyring:gone",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    options = ("--upstream", "https://demo.invalid/mcp", "--bearer-env", "TOKEN")
    with Wrapped(tmp_path, options=options, command=(), environment=environment) as wrapped:
        answer = wrapped.ask("initialize")
        assert error_code(answer) == INTERNAL
        assert "keyring" in str(answer)
        assert "PipeGuard's log tells the user what to do." in str(answer)
        assert "pipeguard secrets" not in str(answer)
        wrapped.hang_up()
        assert wrapped.code() != 0
        assert len(wrapped.said().splitlines()) > 1  # what to do


def test_a_store_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "pipeguard.db").write_text("this is no database, but long enough" * 99)
    with Wrapped(tmp_path) as wrapped:
        assert error_code(wrapped.ask("initialize")) == INTERNAL
        wrapped.hang_up()
        assert wrapped.code() == 4
        assert "pipeguard.db" in wrapped.said()


def test_without_a_scan_engine_nothing_runs(tmp_path: Path) -> None:
    blocker = "import sys; sys.modules['hyperscan'] = None; sys.argv[:] = ['pipeguard', *{}]\n"
    wrap = ["wrap", "--", *PYTHON, str(SERVER)]
    source = blocker.format(wrap) + "from pipeguard.__main__ import main; main()"
    environment = {**os.environ, "PIPEGUARD_STATE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-E", "-P", "-c", source],
        input=b'{"jsonrpc":"2.0","id":1,"method":"initialize"}\n',
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == INTERNAL
    assert b"the scan engine (hyperscan) is not installed" in done.stderr


# --- approvals and the store while it runs ----------------------------------------------


def listed(wrapped: Wrapped) -> list[Json]:
    tools = result(wrapped.ask("tools/list"))["tools"]
    assert isinstance(tools, list)
    return tools


def approve(wrapped: Wrapped) -> None:
    """Approve from another process, after the definition was stored."""
    until(
        lambda: any(pin.held_definition is not None for pin in pins(wrapped).values()), "it is held"
    )
    assert decide(wrapped.store.parent, "approve", "demo", "--all", "--yes")[0] == 0
    until(
        lambda: all(pin.held_definition is None for pin in pins(wrapped).values()), "it is approved"
    )


def test_an_approval_takes_effect_in_a_running_wrap(tmp_path: Path) -> None:
    assert recorder.WATCH_SECONDS + recorder.BATCH_SECONDS < 1
    with Wrapped(tmp_path).opened() as wrapped:
        assert "Returns its text." in str(listed(wrapped))
        wrapped.ask("do/describe", text="Returns its text, in capitals.")
        assert "in capitals" not in str(listed(wrapped))
        call = wrapped.ask("tools/call", name="echo", arguments={"text": "hello"})
        assert result(call)["isError"] is True
        assert "until the user has reviewed" in str(call)
        until(lambda: "pipeguard diff demo/echo" in wrapped.said(), "the log names the command")
        approve(wrapped)
        assert wrapped.frame() == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        assert "in capitals" in str(listed(wrapped))
        call = wrapped.ask("tools/call", name="echo", arguments={"text": "hello"})
        assert "isError" not in result(call)


def test_two_runs_share_one_store(tmp_path: Path) -> None:
    with Wrapped(tmp_path) as one, Wrapped(tmp_path) as other:
        for wrapped in (one, other):
            wrapped.initialize()
            assert len(listed(wrapped)) == 1
        one.ask("do/describe", text="Returns its text, in capitals.")
        listed(one)
        until(lambda: any(pin.held_definition for pin in pins(one).values()), "it is held")
        for wrapped in (one, other):
            wrapped.end()
        assert len({row.chain for row in audited(one)}) == 2


@pytest.mark.parametrize(
    ("failure", "cause"), [("stop", "full"), ("continue", "full"), ("stop", "locked")]
)
def test_a_store_that_cannot_be_written_stops_traffic_only_where_policy_says_so(
    tmp_path: Path, failure: str, cause: str
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"audit: {{on_failure: {failure}}}\n")
    options = ("--name", "demo", "--policy", str(policy))
    with ExitStack() as stack, Wrapped(tmp_path, options=options) as wrapped:
        wrapped.initialize()
        waits = wrapped.request("do/nothing")
        wrapped.ask("ping")
        until(lambda: len(audited(wrapped)) >= 6, "it is written")
        if cause == "full":
            # The store may not grow any more: a disk that is full, for this process alone.
            full = wrapped.store.with_name("pipeguard.db-wal").stat().st_size
            resource.prlimit(wrapped.process.pid, resource.RLIMIT_FSIZE, (full, full))
        else:
            other = stack.enter_context(open_store(wrapped.store))
            stack.enter_context(other.transaction())
        wrapped.ask("ping")
        until(lambda: "the store cannot be written" in wrapped.said(), "it is noticed")
        sleep(3 * recorder.WATCH_SECONDS)  # the store is read in that time, which changes nothing
        last = wrapped.request("ping")
        if failure == "continue":
            assert "result" in wrapped.answer(last)
            wrapped.end()
        else:
            answers = wrapped.frames_to_the_end()
            assert [answer["id"] for answer in answers] == [waits, last]
            assert all("the audit cannot be written" in str(answer["error"]) for answer in answers)
            stack.close()
            assert wrapped.code() == 4
            assert "pipeguard: the audit cannot be written" in wrapped.said()


def test_the_client_is_told_once_that_rows_of_the_audit_are_lost(tmp_path: Path) -> None:
    with Wrapped(tmp_path, pipeguard=SMALL_BACKLOG).opened() as wrapped:
        until(lambda: len(audited(wrapped)) >= 3, "it is written")
        full = wrapped.store.with_name("pipeguard.db-wal").stat().st_size
        resource.prlimit(wrapped.process.pid, resource.RLIMIT_FSIZE, (full, full))
        wrapped.ask("ping")
        until(lambda: "the store cannot be written" in wrapped.said(), "it is noticed")
        assert wrapped.seen == [], "nothing is lost as yet"
        for _ in range(30):
            wrapped.ask("ping")
        wrapped.hang_up()
        frames = [*wrapped.seen, *wrapped.frames_to_the_end()]
        notices = [each for each in frames if each.get("method") == "notifications/message"]
        (notice,) = notices
        assert notice["params"]["level"] == "error"  # type: ignore[index, call-overload]
        assert "audit" in str(notice["params"])
        assert wrapped.code() == 0


@pytest.mark.parametrize("is_array", [True, False], ids=["an array", "a malformed answer"])
def test_whatever_answers_waits_for_no_audit(tmp_path: Path, is_array: bool) -> None:
    with governed(tmp_path, "audit: {on_failure: stop}\n").opened("2025-03-26") as wrapped:
        waits = wrapped.requests(("do/nothing", {}), ("do/nothing", {}))
        wrapped.ask("ping")
        until(lambda: len(audited(wrapped)) >= 7, "it is written")
        full = wrapped.store.with_name("pipeguard.db-wal").stat().st_size
        resource.prlimit(wrapped.process.pid, resource.RLIMIT_FSIZE, (full, full))
        # The server answers once the audit is known to be broken, by a notification of its own.
        texts = [f'{{"jsonrpc":"2.0","id":{id_},"result":{{}}}}' for id_ in waits]
        broken = texts[0].replace("{}", '{"a":1,"a":2}')
        text = f"[{','.join(texts)}]" if is_array else broken
        (tmp_path / "text").write_text(f"{text}\n")
        wrapped.request("do/late", text=str(tmp_path / "text"))
        until(lambda: "the store cannot be written" in wrapped.said(), "it is noticed")
        (tmp_path / "text").with_suffix(".go").touch()
        answers = wrapped.frames_to_the_end()
        assert sorted(answer["id"] for answer in answers if answer["id"] in waits) == waits
        assert all("error" in answer for answer in answers if answer["id"] in waits)
        assert wrapped.code() == 4


def test_a_flood_is_dropped_and_does_not_fill_the_audit(tmp_path: Path) -> None:
    with governed(tmp_path, "limits: {notifications: 10}\n").opened() as wrapped:
        begun = monotonic()
        wrapped.ask("do/flood", number=1000, text="tick")
        seconds = int(monotonic() - begun) + 2
        assert 10 <= len(wrapped.seen) <= 10 * seconds
        wrapped.end()
        entries = [row.entry for row in audited(wrapped) if row.entry.kind == "notification"]
        floods = [entry for entry in entries if "protocol.flood" in entry.findings]
        assert 1 <= len(floods) <= seconds
        assert len(entries) == len(wrapped.seen) + len(floods) + 1, "and `initialized`"


def an_old_run(folder: Path) -> None:
    """A run of years ago, in the store of a test."""
    (folder / "state").mkdir(mode=0o700)
    old = entry_of(1000)
    with open_store(folder / "state" / "pipeguard.db") as store:
        Audit(store, "OLDRUN", "demo", old.time).append_many([old])


@pytest.mark.parametrize(
    ("keep", "options", "stays"),
    [("90 d", (), False), ("forever", (), True), ("90 d", ("--no-audit",), True)],
)
def test_a_run_removes_what_is_older_than_policy_says(
    tmp_path: Path, keep: str, options: tuple[str, ...], stays: bool
) -> None:
    an_old_run(tmp_path)
    with governed(tmp_path, f"audit: {{keep: {keep}}}\n", *options).opened() as wrapped:
        wrapped.end()
        assert ("OLDRUN" in {row.chain for row in audited(wrapped)}) is stays
        assert verify(wrapped.store) == []


def test_an_audit_that_cannot_be_pruned_is_told_and_no_reason_to_fail(tmp_path: Path) -> None:
    an_old_run(tmp_path)
    with Wrapped(tmp_path, options=("--name", "demo")).opened() as wrapped:
        until(lambda: len(audited(wrapped)) >= 3, "it is written")
        with sqlite3.connect(wrapped.store) as connection:
            connection.execute("DROP TABLE chains")
        connection.close()
        wrapped.end()
        assert "the audit could not be pruned" in wrapped.said()


def test_no_audit_is_not_taken_where_policy_wants_one(tmp_path: Path) -> None:
    with governed(tmp_path, "audit: {on_failure: stop}\n", "--no-audit") as wrapped:
        wrapped.hang_up()
        assert wrapped.code() == 2
        assert "--no-audit: the policy says `audit.on_failure: stop`." in wrapped.said()
