"""Data kept for peers is bounded: beyond the limit, the oldest is dropped."""

import asyncio
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.transports.bounded import LIMIT_BYTES, SMALL_BYTES, Backlog, Crowded
from pipeguard.transports.http.server import exchange_router
from pipeguard.transports.http.server.exchange_router import STREAM_BYTES, Stream
from tests.transports.wire import eventually

LIMIT = 100
HUGE = b"x" * (STREAM_BYTES + 1)


# --- Backlog --------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2 * LIMIT)), max_size=60))
def test_the_longest_goes_first_where_the_limit_is_reached(notes: list[tuple[int, int]]) -> None:
    backlog, waiting = Backlog(LIMIT), dict[int, int]()

    def cut(key: int) -> None:
        assert key == next(iter(waiting)), "another one waits for longer"
        del waiting[key]

    for key, size in notes:
        waiting[key] = size
        if not size:
            del waiting[key]
        backlog.note(key, size, partial(cut, key))
        assert sum(waiting.values()) <= LIMIT
    assert backlog._total == sum(waiting.values())


async def held(backlog: Backlog, size: int, ready: asyncio.Event, until: asyncio.Event) -> str:
    """Hold a body of some size until something happens; return its fate."""
    try:
        with backlog.holding() as hold:
            hold(size)
            ready.set()
            await until.wait()
    except Crowded:
        return "given up"
    return "done"


async def test_a_body_that_is_held_for_longest_is_given_up_for_a_new_one() -> None:
    backlog, end = Backlog(SMALL_BYTES), asyncio.Event()
    told = []
    for size in (SMALL_BYTES, 2 * SMALL_BYTES, SMALL_BYTES):
        ready = asyncio.Event()
        told.append(asyncio.create_task(held(backlog, size, ready, end)))
        await ready.wait()
    more = asyncio.Event()
    told.append(asyncio.create_task(held(backlog, 2 * SMALL_BYTES, more, end)))
    await more.wait()
    end.set()
    # A small body is not counted, so it is never in the way.
    assert await asyncio.gather(*told) == ["done", "given up", "done", "done"]
    assert backlog._total == 0


async def test_a_body_that_is_too_large_by_itself_is_given_up_as_it_grows() -> None:
    backlog = Backlog(LIMIT)
    sizes = iter(range(SMALL_BYTES, SMALL_BYTES + 2 * LIMIT, 10))
    size = 0

    async def grow() -> None:
        nonlocal size
        with backlog.holding() as hold:
            for size in sizes:
                hold(size)

    with pytest.raises(Crowded):
        await grow()
    assert size == SMALL_BYTES + LIMIT + 10
    assert backlog._total == 0


async def test_a_task_that_is_cancelled_by_another_is_cancelled() -> None:
    ready = asyncio.Event()
    task = asyncio.create_task(held(Backlog(), 10**6, ready, asyncio.Event()))
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_message_that_is_as_large_as_can_be_fits() -> None:
    ready, end = asyncio.Event(), asyncio.Event()
    end.set()
    assert await held(Backlog(), LIMIT_BYTES, ready, end) == "done"


# --- Stream ---------------------------------------------------------------------------------------


async def test_a_server_waits_for_a_client_only_while_much_is_not_taken() -> None:
    stream = Stream(Backlog())
    stream.send([b"x" * STREAM_BYTES])
    await stream.make_room()  # it is not too much
    stream.send([b"y"])
    waiting = asyncio.create_task(stream.make_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await stream.next(1) == b"x" * STREAM_BYTES
    await waiting
    assert not stream.is_cut
    assert await stream.next(1) == b"y"


async def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_router, "UNTAKEN_SECONDS", 0.01)
    backlog = Backlog()
    stream = Stream(backlog)
    stream.send([HUGE])
    await stream.make_room()
    assert stream.is_cut
    assert backlog._total == 0
    stream.send([b"more"])
    assert await stream.next(1) is None, "it has ended, and takes no more"
    assert backlog._total == 0


async def test_of_all_streams_together_the_one_not_taken_for_longest_is_cut() -> None:
    backlog = Backlog(2 * len(HUGE))
    first, second, third = [Stream(backlog) for _ in range(3)]
    first.send([HUGE])
    second.send([HUGE])
    assert await first.next(1) == HUGE  # so it waits since now, and not since then
    first.send([HUGE])
    third.send([HUGE])
    assert [one.is_cut for one in (first, second, third)] == [False, True, False]
    assert backlog._total == 2 * len(HUGE)
    await eventually(lambda: bool(len(second._outbox)), "it is told that it ended")
    assert await second.next(1) is None
    assert await third.next(1) == HUGE
