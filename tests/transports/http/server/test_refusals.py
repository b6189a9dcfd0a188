"""Refused clients are counted: a row at once, then one for each kind and interval."""

import asyncio
import re

from pipeguard.firewall.finding import Action, Finding
from pipeguard.transports.http.server.admission import RefusalReason, Refusals
from tests.transports.wire import eventually, run

SOON, NEVER = 0.02, 3600.0


class Told(list[tuple[str, str, str]]):
    """The rule, note and address of each report."""

    def __call__(self, finding: Finding, peer: str) -> None:
        assert finding.action is Action.BLOCK
        self.append((finding.rule, finding.note, peer))


async def test_the_first_is_told_at_once_and_a_million_more_in_one_row() -> None:
    told = Told()
    refusals = Refusals(told, NEVER)
    for number in range(20_000):
        refusals.add(RefusalReason.WRONG_TOKEN, "POST /mcp", f"10.0.0.{number % 3}")
    assert [note for _, note, _ in told] == [
        "1 request: the bearer token is not ours, or has ended (POST /mcp)"
    ]
    refusals.close()
    (_, (rule, note, peer)) = told
    assert (rule, peer) == ("entrance.wrong-token", "10.0.0.1")
    assert note == ("19999 more requests within 3600 s: the bearer token is not ours, or has ended")


async def test_each_kind_has_a_row_of_its_own_and_what_does_not_come_again_has_one() -> None:
    told = Told()
    refusals = Refusals(told, SOON)
    for ground in RefusalReason:
        refusals.add(ground, "", "10.0.0.1")
    assert len(told) == len(RefusalReason)
    await eventually(lambda: not refusals._timers, "the intervals are over")
    refusals.close()
    assert [rule for rule, _, _ in told] == [ground.rule for ground in RefusalReason]


def test_who_goes_on_knocking_has_a_row_for_each_interval_and_no_more() -> None:
    told = Told()

    async def work() -> int:
        refusals = Refusals(told, SOON)
        began, count = asyncio.get_running_loop().time(), 0
        while len(told) < 4:
            refusals.add(RefusalReason.HOST, "GET /mcp", "10.0.0.1")
            count += 1
            await asyncio.sleep(0)
        assert asyncio.get_running_loop().time() - began > 2.9 * SOON
        refusals.close()
        return count

    count = run(work)
    counted = [int(re.match(r"\d+", note)[0]) for _, note, _ in told]  # type: ignore[index]
    assert sum(counted) == count
