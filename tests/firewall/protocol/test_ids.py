"""Ids: each has one token, and a token gives the id back."""

import pytest
from hypothesis import given

from pipeguard.firewall.protocol.ids import MAX_ID_BYTES, read_id, request_ids, write_id
from pipeguard.firewall.protocol.json_values import JsonValue, Number
from tests.fuzz.budget import tried
from tests.fuzz.values import ids


@tried(100)
@given(ids, ids)
def test_only_the_same_ids_have_the_same_token(one: str | Number, other: str | Number) -> None:
    same = type(one) is type(other) and one == other
    assert (write_id(one) == write_id(other)) == same


@pytest.mark.parametrize("size", [MAX_ID_BYTES - 2, MAX_ID_BYTES - 1])
def test_an_id_is_short(size: int) -> None:
    assert (write_id("a" * size) is None) == (size + 2 > MAX_ID_BYTES)
    assert write_id("é" * size) is None
    assert write_id("a" * (MAX_ID_BYTES + 1)) is None


@tried(100)
@given(ids)
def test_a_token_gives_its_id_back(id_: str | Number) -> None:
    token = write_id(id_)
    assert token is not None
    back = read_id(token)
    assert (type(back), back) == (type(id_), id_)


def test_the_requests_of_a_message_or_a_batch_have_ids() -> None:
    call: JsonValue = {"id": "a", "method": "x"}
    assert request_ids(call) == ['"a"']
    assert request_ids([call, {"method": "x"}, {"id": Number("1"), "result": {}}, None]) == ['"a"']
    assert request_ids({"id": None, "method": "x"}) == []
