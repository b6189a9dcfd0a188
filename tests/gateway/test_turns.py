"""Turns on the loop: one server after the other, and each server's in their order."""

import asyncio

from pipeguard.gateway.hub import Turns


def order_of(*waiting: str, cancelled: int | None = None) -> list[str]:
    """Return the order of turns; all clients wait before the first turn."""

    async def run() -> list[str]:
        turns, order = Turns(), list[str]()

        async def take(number: int, server: str) -> None:
            await turns.wait(server)
            order.append(f"{server}{number}")

        tasks = [asyncio.create_task(take(number, server)) for number, server in enumerate(waiting)]
        await asyncio.sleep(0)
        if cancelled is not None:
            tasks[cancelled].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await turns.wait("late")  # it goes on after a pause
        return order

    return asyncio.run(run())


def test_a_quiet_server_is_next_however_many_wait_for_a_busy_one() -> None:
    assert order_of("a", "a", "a", "a", "b", "a", "b") == ["a0", "b4", "a1", "b6", "a2", "a3", "a5"]


def test_who_is_cancelled_takes_no_turn() -> None:
    assert order_of("a", "a", "a", "b", cancelled=1) == ["a0", "b3", "a2"]
    assert order_of("a", "a", cancelled=1) == ["a0"]
