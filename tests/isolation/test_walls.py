"""Messages for agent and person when an isolated server hits a wall: real runs."""

import re
from pathlib import Path

import pytest

from tests.isolation.test_wrapped import Isolated
from tests.launch.processes import until
from tests.wrap.deciding import decide
from tests.wrap.wrapped import Object, result

pytestmark = pytest.mark.needs("bubblewrap")

AUTO = ("--isolate", "auto")


def call(run: Isolated, tool: str, what: object) -> Object:
    return run.ask("tools/call", name=tool, arguments={"what": str(what)})


def texts(answer: Object) -> list[str]:
    content = result(answer)["content"]
    assert isinstance(content, list)
    return [str(block["text"]) for block in content if isinstance(block, dict)]


def event_in(text: str) -> str:
    found = re.search(r"\(event ([0-9A-Z]{8}\.[\w.]+)\)", text)
    assert found, text
    return found[1]


def test_an_answer_that_failed_at_a_refused_host_says_so(tmp_path: Path) -> None:
    with Isolated(tmp_path, *AUTO) as run:
        run.ready()
        event = ""
        for _ in range(2):  # the second is counted, and told all the same
            server, ours = texts(call(run, "fetch", "api.example.com"))
            assert server == "Failed to fetch: connection issue"
            assert ours.startswith("PipeGuard: this server is isolated, and does not get the host")
            assert '"api.example.com"' in ours
            event = event_in(ours)
            assert event.endswith(".x1")
            assert "`" not in ours
            assert "pipeguard allow" not in ours  # a model has a shell
        until(lambda: f"pipeguard allow {event}" in run.said(), "the person is told the command")
        error = call(run, "protest", "api.example.com")["error"]
        assert isinstance(error, dict)
        message = str(error["message"])
        assert message.startswith("upstream is unreachable (PipeGuard: ")
        assert event_in(message).endswith(".x1")
        run.hang_up()
        assert run.code() == 0
        assert re.search(r"the session has ended\b.* blocked=[12]\b", run.said())
        assert run.said().count("block egress.host") == 1


def test_the_first_answer_of_all_says_what_the_kernel_refused(tmp_path: Path) -> None:
    """These ports are closed: the server knows it before PipeGuard has looked."""
    with Isolated(tmp_path, *AUTO) as run:
        run.ready()
        ours = texts(call(run, "scan", "192.0.2.1:22 192.0.2.1:23 192.0.2.2:5432"))[1]
        for target in ("192.0.2.1:22", "192.0.2.1:23", "192.0.2.2:5432"):
            assert f'the host "{target}" (event ' in ours
        assert texts(call(run, "claim", "fetch failed")) == ["fetch failed"]
        assert '"192.0.2.3:22"' in texts(call(run, "fetch", "192.0.2.3:22"))[1]
        again = texts(call(run, "fetch", "192.0.2.1:22"))[1]
        assert '"192.0.2.1:22"' in again
        assert texts(call(run, "chatter", "192.0.2.4:22")) == ["The sun is shining."]
        assert texts(call(run, "claim", "fetch failed")) == ["fetch failed"]
        run.hang_up()
        assert run.code() == 0
    _, shown = decide(tmp_path / "state", "audit", "list", "--json")
    assert f"1 more within 60 s after event {event_in(again)}, the last at " in shown


# --- files and ports ------------------------------------------------------------------


def allowed(folder: Path, event: str, *options: str) -> tuple[int, str]:
    """Run `pipeguard allow` as a person does."""
    environment = {"PIPEGUARD_POLICY": str(folder / "policy.yaml"), "HOME": str(folder / "home")}
    return decide(folder / "state", "allow", event, *options, environment=environment)


def explain(folder: Path, event: str) -> tuple[int, str]:
    """Return the output of `pipeguard explain`, with single spaces."""
    code, shown = decide(folder / "state", "explain", event)
    return code, " ".join(shown.split())


POLICY = "# mine\nisolate:\n- {server: reacher}\n"


def test_a_file_that_is_not_given_is_told_explained_and_allowed(tmp_path: Path) -> None:
    diary, new = tmp_path / "home" / "diary", tmp_path / "home" / "notes" / "new"
    policy = POLICY.replace("reacher}", "reacher, read: [~/notes]}")
    with Isolated(tmp_path, policy=policy) as run:
        server, ours = texts(call(run.ready(), "read_text_file", diary))
        assert server == f"[Errno 2] No such file or directory: '{diary}'"
        assert "does not get the file that it named" in ours
        event = event_in(ours)
        until(lambda: f"pipeguard allow {event}" in run.said(), "the person is told the command")
        assert "warn isolation.read" in run.said()
        code, shown = explain(tmp_path, event)
        assert "did not get what it wanted" in shown
        assert f"pipeguard allow {event}" in shown
        code, shown = allowed(tmp_path, event)
        assert code == 0, shown
        assert 'reacher may then read "~/diary".' in shown
        assert "applies from the next start of reacher" in shown
        server, ours = texts(call(run, "write_file", new))
        assert server.startswith("Error: EROFS")
        assert "the right to change the file that it named" in ours
        event = event_in(ours)
        until(lambda: f"pipeguard allow {event}" in run.said(), "it is in the audit")
        code, shown = allowed(tmp_path, event)
        assert 'read and change "~/notes", and what is in it' in shown
    written = (tmp_path / "policy.yaml").read_text()
    given = "reacher, read: [~/notes, ~/diary], write: [~/notes]}"
    assert written == POLICY.replace("reacher}", given)
    with Isolated(tmp_path, policy=written) as run:
        assert texts(call(run.ready(), "read_text_file", diary)) == ["a day"]
        assert texts(call(run, "write_file", new)) == ["written"]


def test_an_answer_says_the_same_whether_the_file_is_there_or_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Isolated(tmp_path, *AUTO) as run:
        run.ready()
        notes, event = [], ""
        for name in ("diary", "ghost"):
            _, ours = texts(call(run, "read_text_file", home / name))
            notes.append(re.sub(r"\.s\d+", ".sN", ours.replace(name, "NAME")))
            event = event_in(ours)
        assert notes[0] == notes[1]
        until(lambda: f"allow {event}" in run.said(), "the second is recorded")
        code, shown = allowed(tmp_path, event)
        assert code != 0
        assert "nothing to give" in shown


def test_a_port_of_this_machine_is_one_event_however_it_is_reached(tmp_path: Path) -> None:
    with Isolated(tmp_path, policy=POLICY) as run:
        run.ready()
        event = ""
        for host in ("127.0.0.1", "localhost", ""):
            tool, what = "call_port" if host else "proxied", f"{host or 'localhost'}:5433"
            (_, ours) = texts(call(run, tool, what))
            assert "does not get port 5433 of this machine (event " in ours
            assert ours.count("(event ") == 1
            event = event_in(ours)
            assert event.endswith(".x1")
        until(lambda: "block isolation.port" in run.said(), "it is told")
        assert "egress." not in run.said()
        code, shown = allowed(tmp_path, event)
        assert code == 0, shown
        assert "connect to port 5433 of this machine" in shown
    assert "loopback: [5433]" in (tmp_path / "policy.yaml").read_text()
