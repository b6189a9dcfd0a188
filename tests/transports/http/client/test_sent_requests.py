"""What a server may still work on: all but what was cancelled long ago, or too often."""

from pipeguard.core.protocol.pending import MAX_REMEMBERED, REMEMBERED_SECONDS
from pipeguard.transports.http.client.sent_requests import Sent, SentRequests


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_server_may_be_working_on_what_was_cancelled_for_a_while() -> None:
    clock = Clock()
    sent = SentRequests[str](clock)
    for own in "123":
        sent.put(own, Sent("one", own))
    assert sent.cancel("one", "1") == "1"
    clock.seconds += REMEMBERED_SECONDS / 2
    assert sent.cancel("one", "2") == "2"
    assert len(sent.all()) == 3
    clock.seconds += REMEMBERED_SECONDS / 2
    assert [each.token for each in sent.all()] == ["2", "3"]
    clock.seconds += REMEMBERED_SECONDS
    assert [each.token for each in sent.all()] == ["3"]


def test_only_so_many_that_were_cancelled_are_kept() -> None:
    sent = SentRequests[str](Clock())
    for number in range(2 * MAX_REMEMBERED):
        sent.put(str(number), Sent("one", "1"))
        assert sent.cancel("one", "1") == str(number)
    assert len(sent.all()) == MAX_REMEMBERED


def test_nobody_cancels_what_is_another_ones_or_twice() -> None:
    sent = SentRequests[str](Clock())
    sent.put("7", Sent("one", "1"))
    assert sent.cancel("two", "1") is None
    assert sent.cancel("one", "1") == "7"
    assert sent.cancel("one", "1") is None
    assert sent.pop("7") is None
    assert sent.all() == []
