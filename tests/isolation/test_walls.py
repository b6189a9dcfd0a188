"""What an agent reads and a person finds where an isolated server hit a wall: real runs."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

from tests.isolation.test_escapes import answering
from tests.isolation.test_wrapped import Isolated
from tests.launch.processes import until
from tests.wrap.deciding import decide
from tests.wrap.wrapped import Object, result

FAILING = (sys.executable, "-I", "-u", str(Path(__file__).with_name("failing.py")))
AUTO = ("--isolate", "auto")


def failing(folder: Path, *options: str, policy: str = "") -> Isolated:
    return Isolated(folder, *options, command=FAILING, policy=policy)


def call(run: Isolated, tool: str, what: object) -> Object:
    return run.ask("tools/call", name=tool, arguments={"what": str(what)})


def texts(answer: Object) -> list[str]:
    content = result(answer)["content"]
    assert isinstance(content, list)
    return [str(block["text"]) for block in content if isinstance(block, dict)]


def event_in(text: str) -> str:
    found = re.search(r"\(event ([0-9A-Z]{8}\.\w+)\)", text)
    assert found, text
    return found[1]


def test_an_answer_that_failed_at_a_refused_host_says_so(tmp_path: Path) -> None:
    with failing(tmp_path, *AUTO) as run:
        run.ready()
        for _ in range(2):  # the second is counted, and told all the same
            server, ours = texts(call(run, "fetch", "api.example.com"))
            assert server == "Failed to fetch: connection issue"
            assert ours.startswith("PipeGuard: this server is isolated, and is not given the host")
            assert '"api.example.com"' in ours
            event = event_in(ours)
            assert event.endswith(".x1")
            assert "`" not in ours
            assert "pipeguard allow" not in ours  # a model has a shell
        until(lambda: f"pipeguard allow {event}" in run.said(), "the person is told the command")


def test_a_failure_that_is_no_error_gets_a_text_and_keeps_its_structure(tmp_path: Path) -> None:
    with failing(tmp_path, *AUTO) as run:
        answer = call(run.ready(), "search", "api.example.com")
        assert result(answer)["structuredContent"] == {"found": 0}
        assert texts(answer)[0] == "No results were found."
        assert "api.example.com" in texts(answer)[1]


def test_an_error_of_the_protocol_gets_a_sentence(tmp_path: Path) -> None:
    with failing(tmp_path, *AUTO) as run:
        error = call(run.ready(), "protest", "api.example.com")["error"]
        assert isinstance(error, dict)
        message = str(error["message"])
        assert message.startswith("upstream is unreachable (PipeGuard: ")
        assert event_in(message).endswith(".x1")


def test_an_answer_that_worked_stays_as_it_is(tmp_path: Path) -> None:
    with failing(tmp_path, *AUTO) as run:
        run.ready()
        assert texts(call(run, "chatter", "telemetry.example.com")) == ["The sun is shining."]
        assert texts(call(run, "claim", "no wall was near")) == ["no wall was near"]


def test_no_server_that_is_not_isolated_gets_a_word_of_ours(tmp_path: Path) -> None:
    with failing(tmp_path) as run:
        gone = "ENOENT: no such file or directory, open '/home/x/other/b.txt'"
        assert texts(call(run.ready(), "claim", gone)) == [gone]
