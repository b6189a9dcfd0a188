"""Memory of `wrap --listen` after many sessions, many streams and one long stream."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.http import measure
from benchmarks.http.measure import Hop, Streamed, Usage
from tests.listening import Listening, Process

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="memory is read from /proc")
GROWTH_KIB = 4096  # well above an allocator's swing, and 4 KiB for each session
MOST_KIB_A_STREAM = 60
SPARE_DESCRIPTORS = 8  # of connections to the server that are kept for the next call


@pytest.fixture(scope="module")
def hop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hop]:
    folder = tmp_path_factory.mktemp("http")
    measure.raise_limits()
    command: list[str | Path] = [sys.executable, "-I", measure.SERVER]
    with Process(folder / "server.log", command) as server:
        limit = ("--max-sessions", str(2 * measure.SESSIONS))
        with Listening(folder, "--upstream", server.url, *limit) as listening:
            yield Hop("listening", listening.url, listening.process.pid)


@pytest.fixture(scope="module")
def streamed(hop: Hop) -> Streamed:
    return asyncio.run(measure.stream(hop))


@pytest.fixture(scope="module")
def closed(hop: Hop) -> Usage:
    return asyncio.run(measure.many_sessions(hop))


@pytest.fixture(scope="module")
def idle(hop: Hop) -> Usage:
    return asyncio.run(measure.idle_streams(hop))


def test_the_first_event_of_a_stream_is_not_held_back(streamed: Streamed) -> None:
    assert streamed.first_ms < 1_000  # the others are sent only after it came


def test_a_long_stream_is_complete_and_in_order(streamed: Streamed) -> None:
    assert streamed.complete
    assert streamed.in_order


def test_a_thousand_sessions_leave_no_memory_and_no_descriptor(closed: Usage) -> None:
    assert closed.after_kib - closed.before_kib < GROWTH_KIB
    assert closed.after_descriptors - closed.before_descriptors <= SPARE_DESCRIPTORS


@pytest.mark.exhaustive  # opens a thousand
def test_an_idle_stream_costs_little(idle: Usage) -> None:
    assert idle.height_descriptors - idle.before_descriptors >= measure.SESSIONS
    assert idle.per_connection_kib(measure.SESSIONS) <= MOST_KIB_A_STREAM


@pytest.mark.exhaustive
def test_closed_streams_leave_no_descriptor(idle: Usage) -> None:
    assert idle.after_descriptors - idle.before_descriptors <= SPARE_DESCRIPTORS
