"""A client whose server cannot be guarded gets an answer at once. declining.py."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeguard.errors import LaunchError, StateError
from pipeguard.runtime import declining


@contextmanager
def client() -> Iterator[tuple[int, int, int]]:
    """A client's two pipes: one to write, one to read, and our end of the second."""
    read_end, to_us = os.pipe()
    from_us, write_end = os.pipe()
    saved = os.dup(0)
    os.dup2(read_end, 0)
    try:
        yield to_us, from_us, write_end
    finally:
        os.dup2(saved, 0)
        for descriptor in (saved, read_end, from_us, write_end):
            os.close(descriptor)


def ask(descriptor: int, *frames: bytes) -> None:
    os.write(descriptor, b"".join(frame + b"\n" for frame in frames))
    os.close(descriptor)


@pytest.mark.parametrize(
    ("error", "code"), [(LaunchError("no such file"), -37104), (StateError("no store"), -37108)]
)
def test_without_a_server_requests_are_answered_and_all_else_is_not(
    error: LaunchError | StateError, code: int
) -> None:
    with client() as (to_us, from_us, write_end):
        ask(
            to_us,
            b'{"jsonrpc":"2.0","id":"a","method":"initialize"}',
            b"not json",
            b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
            b'{"jsonrpc":"2.0","id":"a","result":{}}',
            b"[]",
            b'{"jsonrpc":"2.0","id":1.0,"method":"x"}',
            b'{"jsonrpc":"2.0","id":7,"method":"tools/list"}',
        )
        declining.decline(error, write_end)
        answers = [json.loads(line) for line in os.read(from_us, 65536).splitlines()]
    assert [answer["id"] for answer in answers] == ["a", 7]
    assert {answer["error"]["code"] for answer in answers} == {code}
    assert {answer["error"]["message"] for answer in answers} == {f"PipeGuard: {error}"}


def test_it_does_not_wait_for_a_client_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declining, "DECLINE_SECONDS", 0.05)
    with client() as (to_us, _, write_end):
        thread = threading.Thread(
            target=declining.decline, args=(LaunchError("gone"), write_end), daemon=True
        )
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
        os.close(to_us)
