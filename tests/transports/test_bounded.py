"""Queues of frames, bounded in number and in bytes. transports/bounded.py."""

import asyncio

import pytest

from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.transports import bounded
from pipeguard.transports.bounded import MOST_PARSED_BYTES, Allowance, Outbox


async def is_waiting(task: asyncio.Task[None]) -> bool:
    for _ in range(3):
        await asyncio.sleep(0)
    return not task.done()


@pytest.mark.parametrize(("most_frames", "most_bytes"), [(1, 1000), (10, 4)])
async def test_whoever_adds_waits_for_room_unless_nothing_is_in_it_or_all_is_over(
    most_frames: int, most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MOST_FRAMES", most_frames)
    outbox = Outbox(most_bytes)
    await outbox.add(b"x" * 100)
    waiting = [asyncio.create_task(outbox.add(frame)) for frame in (b"y", b"zzzz", b"y")]
    assert await is_waiting(waiting[0])
    assert await outbox.get() == b"x" * 100
    await waiting[0]
    assert await is_waiting(waiting[1])
    assert not waiting[2].done(), "a small one does not pass a large one that waits"
    outbox.end()
    await asyncio.gather(*waiting)


async def test_who_gives_up_waiting_for_room_lets_the_next_one_in() -> None:
    allowance = Allowance(most_frames=3, most_bytes=10)
    await allowance.enter(6)
    large = asyncio.create_task(allowance.enter(8))
    small = asyncio.create_task(allowance.enter(2))
    assert await is_waiting(large)
    assert await is_waiting(small), "room is given in the order of the requests"
    large.cancel()
    await small
    assert large.cancelled()


async def test_an_outbox_takes_more_than_it_should_and_says_so() -> None:
    outbox = Outbox(most_bytes=4)
    outbox.put(b"abcd")
    assert not outbox.is_full
    assert not outbox.fits(b"e")
    outbox.put(b"e")
    assert (outbox.is_full, outbox.size_bytes, len(outbox)) == (True, 5, 2)
    waiting = asyncio.create_task(outbox.wait_taken())
    assert await is_waiting(waiting)
    assert await outbox.get() == b"abcd"
    await waiting
    outbox.end()
    assert [await outbox.get(), await outbox.get()] == [b"e", None]


async def test_of_the_frames_of_an_outbox_one_short_one_keeps_its_value() -> None:
    outbox = Outbox(most_bytes=2**20)
    frame = ParsedFrame.of(b'{"a":1}')
    for queued in (frame, frame, ParsedFrame.of(b'"%b"' % (b"a" * MOST_PARSED_BYTES))):
        outbox.put(queued)
    assert await outbox.get() is frame
    assert type(await outbox.get()) is bytes
    outbox.put(await outbox.get() or b"")
    assert type(await outbox.get()) is bytes


async def test_all_frames_of_an_outbox_are_taken_back_at_once() -> None:
    outbox = Outbox(most_bytes=1)
    outbox.put(b"a")
    outbox.put(b"b")
    outbox.end()
    waiting = asyncio.create_task(outbox.wait_taken())
    assert await is_waiting(waiting)
    assert outbox.clear() == [b"a", b"b"]
    assert (outbox.size_bytes, len(outbox)) == (0, 0)
    await waiting
