"""How much a peer may send that nobody asked for."""

from pipeguard.core.protocol.framing import Oversized
from pipeguard.core.session.quotas import ENDLESS, NotificationQuota, UnreadableOutput


def test_what_may_be_dropped_is_dropped_beyond_the_limit_of_a_second() -> None:
    quota = NotificationQuota(2)
    told = [quota.take(5.0, is_expendable=True) for _ in range(4)]
    assert told[:2] == [None, None]
    assert [finding.rule for finding in told[2] or ()] == ["protocol.flood"]
    assert told[3] == [], "said once a second"
    assert quota.take(6.0, is_expendable=True) is None


def test_what_may_not_be_dropped_passes_and_counts() -> None:
    quota = NotificationQuota(1)
    assert quota.take(0.0, is_expendable=False) is None
    assert quota.take(0.0, is_expendable=False) is None
    assert quota.take(0.5, is_expendable=True)
    assert quota.take(1.5, is_expendable=True) is None
    (finding,) = quota.take(1.6, is_expendable=True) or []
    assert "2 so far" in finding.note


def test_text_between_messages_adds_up_to_a_frame() -> None:
    output = UnreadableOutput(100)
    assert [output.exceeds(b"x" * 40) for _ in range(3)] == [False, False, True]
    assert not output.exceeds(b"x" * 100), "and counts anew"


def test_a_message_that_can_be_read_begins_anew() -> None:
    output = UnreadableOutput(100)
    output.exceeds(b"x" * 90)
    output.reset()
    assert not output.exceeds(b"x" * 90)


def test_an_endless_line_whose_id_is_known_may_be_longer() -> None:
    output = UnreadableOutput(100)
    output.identify(Oversized.of(b"head", b"", 50))
    assert not output.exceeds(Oversized.of(b"", b"", 99 * ENDLESS))
    assert output.exceeds(Oversized.of(b"", b"tail", 2 * ENDLESS))
    assert output.exceeds(Oversized.of(b"", b"", 101)), "whose end came is known no longer"
