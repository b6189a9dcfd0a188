"""Ids on a shared channel: their owners, the stored ones, and those still in progress."""

import pytest

from pipeguard.firewall.protocol.ids import read_id
from pipeguard.firewall.protocol.json_values import JsonObject, Number
from pipeguard.firewall.protocol.pending import MAX_REMEMBERED, REMEMBERED_SECONDS
from pipeguard.transports.http.correlator import MOST_AHEAD, Correlator


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def request(id_token: str, progress: str | None = None) -> JsonObject:
    meta: JsonObject = {} if progress is None else {"progressToken": read_id(progress)}
    return {"id": read_id(id_token), "method": "x/y", "params": {"_meta": meta}}


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        (("1", "2", "7"), [True, True, True]),
        (("1", "1", "2", "4"), [True, False, False, True]),
        (('"a"', "0", "-1"), [False, False, False]),
        ((str(MOST_AHEAD), str(2 * MOST_AHEAD + 1)), [True, False]),
    ],
)
def test_a_unique_id_is_a_number_that_exceeds_all_before(
    tokens: tuple[str, ...], kept: list[bool]
) -> None:
    ids = Correlator[str](is_unique=True)
    sent = [ids.add(token, request(token, token))[0] or "" for token in tokens]
    assert [own == token for own, token in zip(sent, tokens, strict=True)] == kept
    assert len(set(sent)) == len(sent)
    for own, token in zip(sent, tokens, strict=True):
        origin, progress = ids.pop(own), ids.progressing(own)
        assert (origin and origin.token, progress and progress.token) == (token, token)
        assert ids.add("later", request(own))[0] != own


def test_where_ids_need_not_be_unique_one_that_is_free_is_kept() -> None:
    ids = Correlator[str](is_unique=False)
    first, second = ids.add("one", request("1", '"p"')), ids.add("two", request("1", '"p"'))
    assert first == ("1", '"p"')
    assert not {*first} & {*second}
    ids.give_up("1")
    assert ids.add("one", request("1"))[0] != "1"  # its late answer would be another's
    assert ids.is_late("1")
    assert ids.add("one", request("1"))[0] == "1"
    chosen = '"pipeguard-4"'
    assert ids.add("one", request(chosen))[0] == chosen
    assert ids.add("two", request("1"))[0] not in ("1", chosen)


def test_a_server_may_be_working_on_what_was_cancelled_for_a_while() -> None:
    clock = Clock()
    ids = Correlator[str](is_unique=True, now=clock)
    for own in "123":
        ids.add("one", request(own))
    assert ids.cancel("one", "1") == "1"
    clock.seconds += REMEMBERED_SECONDS / 2
    assert ids.cancel("one", "2") == "2"
    assert len(ids.working()) == 3
    clock.seconds += REMEMBERED_SECONDS / 2
    assert [each.token for each in ids.working()] == ["2", "3"]
    clock.seconds += REMEMBERED_SECONDS
    assert [each.token for each in ids.working()] == ["3"]


def test_only_so_many_that_were_cancelled_are_kept() -> None:
    ids = Correlator[str](is_unique=True, now=Clock())
    for number in range(2 * MAX_REMEMBERED):
        assert ids.add("one", {"id": Number("1"), "method": "x"})[0] == str(number + 1)
        assert ids.cancel("one", "1") == str(number + 1)
    assert len(ids.working()) == MAX_REMEMBERED


def test_nobody_cancels_what_is_another_ones_or_twice() -> None:
    ids = Correlator[str](is_unique=True)
    ids.add("one", request("1"))
    assert ids.cancel("two", "1") is None
    assert ids.cancel("one", "1") == "1"
    assert ids.cancel("one", "1") is None
    assert ids.pop("1") is None
    assert ids.working() == []


def test_a_token_that_is_spelled_otherwise_is_the_same_request() -> None:
    ids = Correlator[str](is_unique=False)
    ids.add("one", request("7", "7"))
    assert (progress := ids.progressing("7")) is not None
    assert ids.progressing('"7"') == progress
    assert ids.cancel("one", '"7"') == "7"
    assert ids.cancel("one", '"7"') is None
    ids.add("one", request('"8"', '"8"'))
    assert ids.progressing("8") == ids.progressing('"8"')
    assert ids.cancel("one", "8") == '"8"'
