"""Frames of 4 MB both ways from several clients at once, while one of them does not read.

Each request gets one answer: the expected result, or an error that says why.
"""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.listening import Listening
from tests.wrap.listening import Browser, messages
from tests.wrap.wrapped import PYTHON, SERVER, Object

LARGE_BYTES = 4_000_000
CLIENTS = 4


def asked(number: int, text: str) -> Object:
    params: Object = {"name": "echo", "arguments": {"text": text}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


@contextmanager
def one_who_does_not_read(url: str) -> Iterator[None]:
    """Keep a client that has asked for two large answers and reads them only at the end."""
    browser = Browser(url)
    browser.open()
    connections = [browser.connect() for _ in range(2)]
    for number, connection in enumerate(connections):
        large: Object = {"number": LARGE_BYTES}
        body = {"jsonrpc": "2.0", "id": number, "method": "do/large", "params": large}
        connection.request("POST", "/mcp", json.dumps(body), browser.headers)
    yield
    for number, connection in enumerate(connections):
        with connection.getresponse() as response:
            (answer,) = [one for one in messages(response) if "method" not in one]
        assert answer["id"] == number
        is_answer(answer)


def is_answer(answer: Object) -> bool:
    """True for a result; an error must say why."""
    if "result" in answer:
        return True
    error = answer["error"]
    assert isinstance(error, dict)
    assert str(error["message"]).startswith("PipeGuard: "), error
    return False


def honest(url: str, name: int, calls: int, start: threading.Barrier) -> int:
    """Call with large texts, and with small ones between; return how many got their result."""
    browser, done = Browser(url), 0
    browser.open()
    start.wait()
    for number in range(1, 2 * calls + 1):
        text = f"{name}.{number} " + "abcde fgh " * (LARGE_BYTES // 10 if number % 2 else 1)
        status, told = browser.post(asked(number, text))
        assert status == 200, told
        (answer,) = [one for one in told if "method" not in one]
        assert answer["id"] == number
        if is_answer(answer):
            content = [{"type": "text", "text": text}]
            assert answer["result"] == {"content": content, "resultType": "complete"}
            done += 1
    return done


@pytest.mark.parametrize("calls", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("options", [(), ("--shared",)], ids=["own", "shared"])
def test_each_request_has_one_answer(tmp_path: Path, options: tuple[str, ...], calls: int) -> None:
    with Listening(tmp_path, *options, "--", *PYTHON, str(SERVER)) as at:
        start = threading.Barrier(CLIENTS)
        with one_who_does_not_read(at.url), ThreadPoolExecutor(CLIENTS) as pool:
            jobs = [pool.submit(honest, at.url, name, calls, start) for name in range(CLIENTS)]
            done = [job.result() for job in jobs]
    assert sum(done) == 2 * calls * CLIENTS, done
