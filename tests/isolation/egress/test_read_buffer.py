"""The buffer limit of one connection, so that all of them stay within a budget."""

from pipeguard.isolation.egress.state import BUDGET_BYTES, MAX_BYTES, MIN_BYTES, ReadBuffer


def test_one_connection_reads_as_much_as_helps_and_many_share_a_budget() -> None:
    buffer = ReadBuffer()
    sizes = {}
    for connections in (0, 1, 16, 100, 2048, 10**6):
        buffer.share(connections)
        sizes[connections] = len(buffer.part)
    assert sizes[0] == sizes[1] == sizes[16] == MAX_BYTES
    assert sizes[2048] == sizes[10**6] == MIN_BYTES
    assert 4 * 100 * sizes[100] <= BUDGET_BYTES


def test_what_was_read_is_a_copy() -> None:
    buffer = ReadBuffer()
    buffer.part[:3] = b"abc"
    contents = buffer.contents(3)
    buffer.part[:3] = b"xyz"
    assert contents == b"abc"
