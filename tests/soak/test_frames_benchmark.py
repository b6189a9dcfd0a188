"""The benchmark of frames works, and its hostile texts stay within what a strict peer takes."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.frames import charts, corpus
from benchmarks.frames.client import Connection, Contender, server_command
from benchmarks.frames.figures import DIRECT, Figure, Row

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


@pytest.mark.parametrize("shape", ["text", "items"])
@pytest.mark.parametrize("kind", ["prose", "code", "json"])
@pytest.mark.parametrize("size_bytes", corpus.SIZES.values())
def test_a_realistic_result_has_about_its_size(kind: str, shape: str, size_bytes: int) -> None:
    written = corpus.compact(corpus.realistic(kind, shape, size_bytes))
    assert 0.6 * size_bytes <= len(written) <= 1.2 * size_bytes + 100


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


def test_a_wrapper_takes_the_servers_command_in_its_place_or_at_its_end() -> None:
    server = ["python", "server.py", "a folder"]
    assert Contender.of("a", ["w", "--", "{}", "-x"], server).command == ("w", "--", *server, "-x")
    assert Contender.of("b", ["w", "--"], server).command == ("w", "--", *server)
    assert Contender.of("c", ["sh", "-c", "exec {}"], server).command == (
        "sh",
        "-c",
        "exec python server.py 'a folder'",
    )


def test_what_is_added_is_the_difference_to_direct() -> None:
    row = Row("one", {DIRECT: Figure.of([1, 2, 3]), "w": Figure.of([4, 6, 8])}, {})
    assert row.added("w").median == 4
    assert row.added("w").p99 == pytest.approx(7.96 - 2.98)


def test_the_page_gets_its_tables_and_its_drawing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = {DIRECT: Figure.of([1.0]), "pipeguard": Figure.of([1001.0])}
    row = Row("result 10KB prose text", two, {}).as_json()
    figures = {
        "machine": {"platform": "Linux-6", "python": "3.12.1"},
        "contenders": {name: name for name in two},
        "start_up_ms": [row],
        "round_trip_us": [row],
        "conversation_us": [row | {"name": "first"}, row | {"name": "after 10000"}],
        "in_flight_us_a_call": row,
        "memory": {"pipeguard": {"at rest": {"proportional_kib": 2048}}},
    }
    (tmp_path / "figures.json").write_text(json.dumps(figures))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{charts.BEGIN}old\n{charts.END}after\n")
    monkeypatch.setattr("sys.argv", ["charts", str(tmp_path / "figures.json"), str(page)])
    charts.main()
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| result, 10 KB of prose | 1.00 |" in text
    assert "| PSS at rest, MiB | 2 |" in text
    assert "| after 10,000, ms added | 1.00 |" in text
    assert "| first, ms added" not in text
    assert "old" not in text
    assert page.with_suffix(".svg").read_text().count("<rect") == 3
