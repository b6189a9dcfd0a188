"""A server that is killed many times, at any moment, leaves no call without its one answer."""

import random
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.http import measure
from tests.hostile.wire import INITIALIZED, OPENING, Talk, ask, post
from tests.listening import Listening, Process
from tests.wrap.wrapped import Object, Wrapped

KILLS = [25, pytest.param(100, marks=pytest.mark.exhaustive)]
LONGEST_PAUSE_SECONDS = 0.06  # about three calls
CLIENTS = 4
WINDOW = 4  # calls in flight of the client over stdio
NOT_FOUND = 404


class Mortal:
    """A server at one address, which is killed and started again; each call of it takes a while."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
        self.log = folder / "server.log"
        self.over = threading.Event()
        self.process = self.started()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def started(self) -> Process:
        words = [sys.executable, "-I", str(measure.SERVER), "--sessions", "--port", str(self.port)]
        process = Process(self.log, words)
        assert process.url == self.url
        return process

    def die_often(self, kills: int) -> None:
        """Be killed so many times at random moments, and come back each time."""
        moments = random.Random(4)  # noqa: S311  the same moments in each run
        try:
            for _ in range(kills):
                self.over.wait(moments.uniform(0, LONGEST_PAUSE_SECONDS))
                self.process.kill()
                self.process.__exit__()
                self.process = self.started()
        finally:
            self.over.set()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Mortal]:
    server = Mortal(tmp_path)
    yield server
    server.process.__exit__()


class Caller:
    """A client over HTTP that calls one thing after the other.

    Attributes:
        answers: how often each id was answered.
        worked: how many of the calls had a result.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.session = ""
        self.last_id = 1
        self.answers: Counter[int] = Counter()
        self.worked = 0

    def call_until(self, over: threading.Event) -> None:
        """Call until it is over; then shake hands, if need be, and call once more."""
        while not over.is_set():
            self.call()
        worked = self.worked
        self.session = ""
        self.call()
        assert self.worked == worked + 1, "it does not work any more"

    def call(self) -> None:
        if not self.session and not self.open():
            return
        self.last_id += 1
        self.answers[self.last_id] = 0
        with Talk(self.port) as talk:
            answer = talk.ask(post(call(self.last_id), self.session))
        if answer.status == NOT_FOUND:  # the session was the dead server's
            self.session = ""
            self.answers[self.last_id] += 1
            return
        assert answer.status == 200, answer
        for message in answer.messages:
            self.answers[int(str(message["id"]))] += 1
            self.worked += "result" in message

    def open(self) -> bool:
        with Talk(self.port) as talk:
            answer = talk.ask(post(OPENING))
            if "result" not in answer.to(1):
                return False
            self.session = f"Mcp-Session-Id: {answer.header('mcp-session-id')}"
            return talk.ask(post(INITIALIZED, self.session)).status < 500


def call(number: int) -> Object:
    return ask("tools/call", number, name="slow", arguments={})


@pytest.mark.parametrize("kills", KILLS)
def test_every_call_over_http_is_answered_once(tmp_path: Path, mortal: Mortal, kills: int) -> None:
    with Listening(tmp_path / "hop", "--upstream", mortal.url) as hop:
        callers = [Caller(hop.port) for _ in range(CLIENTS)]
        with ThreadPoolExecutor() as pool:
            jobs = [pool.submit(mortal.die_often, kills)]
            jobs += [pool.submit(caller.call_until, mortal.over) for caller in callers]
            for job in jobs:
                job.result()
    for caller in callers:
        assert caller.worked > 1  # and not the last alone
        assert set(caller.answers.values()) == {1}


@pytest.mark.parametrize("kills", KILLS)
def test_every_call_over_stdio_is_answered_once(tmp_path: Path, mortal: Mortal, kills: int) -> None:
    options = ("--name", "mortal", "--upstream", mortal.url)
    with Wrapped(tmp_path, options=options, command=()) as wrapped, ThreadPoolExecutor() as pool:
        wrapped.initialize()
        killing = pool.submit(mortal.die_often, kills)
        answers: Counter[int] = Counter()
        last, worked = 1, 0
        while not (mortal.over.is_set() and len(answers) == last - 1):
            while not mortal.over.is_set() and last - 1 - len(answers) < WINDOW:
                last += 1
                wrapped.send(call(last))
            frame = wrapped.frame()
            if "method" not in frame:
                answers[int(str(frame["id"]))] += 1
                worked += "result" in frame
        killing.result()
        wrapped.send(call(last + 1))
        assert "result" in wrapped.answer(last + 1)
        wrapped.hang_up()
        rest = [frame for frame in wrapped.frames_to_the_end() if "method" not in frame]
        assert rest == []
    assert worked  # and not the last alone
    assert set(answers.values()) == {1}
