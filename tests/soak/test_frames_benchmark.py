"""The benchmark of frames works."""

import json
import sys
from pathlib import Path

from benchmarks.frames import corpus
from benchmarks.frames.client import ACTS, READS, Connection, Contender, ask, server_command
from benchmarks.frames.figures import DIRECT

PUMP = Path(corpus.__file__).with_name("pump.py")


def test_a_wrapper_that_changes_nothing_gives_the_same_answers(tmp_path: Path) -> None:
    body = corpus.compact(corpus.realistic("prose", "text", 100_000))
    (tmp_path / "page.json").write_bytes(body)
    server = server_command(tmp_path)
    pump = Contender.of("pump", [sys.executable, str(PUMP)], server)
    answers = []
    for contender in (Contender(DIRECT, tuple(server)), pump):
        with (tmp_path / "log").open("wb") as log, Connection(contender, {}, log) as connection:
            assert connection.initialize() > 0
            connection.list_tools()
            taken, answer = connection.call(ACTS, ask("page"))
            assert taken > 0
            assert connection.keep_in_flight(READS, ["page"], calls=50, window=8) > 0
            assert connection.pid_of_server() > 0
            answers.append(answer)
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["result"] == json.loads(body)
