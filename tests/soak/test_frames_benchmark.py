"""The benchmark of frames works, and its hostile texts stay within what a strict peer takes."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.frames import corpus
from benchmarks.frames.client import Connection, Contender, server_command
from benchmarks.frames.figures import DIRECT

PUMP = Path(corpus.__file__).with_name("pump.py")
MOST_NODES, DEEPEST = 100_000, 64  # of one frame, for a strict peer
LARGEST = 1.01 * corpus.MEGABYTE


def size(value: object, depth: int = 1) -> tuple[int, int]:
    """How many nodes a JSON value has, keys not counted, and how deep it is."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return 1, depth
    inner = [size(item, depth + 1) for item in value]
    return 1 + sum(nodes for nodes, _ in inner), max((deep for _, deep in inner), default=depth)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", corpus.hostile())
def test_a_kind_is_json_within_the_limits(kind: str) -> None:
    written = corpus.hostile()[kind]()
    nodes, depth = size(json.loads(written))
    assert len(written) <= LARGEST
    assert nodes < MOST_NODES
    assert depth + 3 <= DEEPEST  # message, params, arguments lie above it


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
            taken, answer = connection.call("page")
            assert taken > 0
            assert connection.keep_in_flight(["page"], calls=50, window=8) > 0
            assert connection.pid_of_server() > 0
            answers.append(answer)
    assert answers[0] == answers[1]
    result = json.loads(answers[0])["result"]
    assert {**result, "_meta": None} == {**json.loads(body), "_meta": None}
