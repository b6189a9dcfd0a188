"""Every client's samples: before becomes after, twice is once, and the way back."""

from __future__ import annotations

import pytest

from pipeguard.clients.catalog import Client, Transport, clients
from pipeguard.clients.edit import edited
from pipeguard.clients.entries import State
from pipeguard.clients.rewrite import judge, open_fields
from tests.clients.samples import WISHES, Sample, guard, read, samples

ALL = list(samples())
CHANGED = [sample for sample in ALL if sample.after]
LEFT = [sample for sample in ALL if sample.left]


@pytest.mark.parametrize("sample", CHANGED, ids=str)
def test_before_becomes_after(sample: Sample) -> None:
    assert guard(sample.spec, sample.before) == sample.after


@pytest.mark.parametrize("sample", CHANGED, ids=str)
def test_what_is_guarded_is_guarded_once(sample: Sample) -> None:
    assert guard(sample.spec, sample.after) == sample.after


@pytest.mark.parametrize("sample", LEFT, ids=str)
def test_what_cannot_be_guarded_is_left_and_said(sample: Sample) -> None:
    config = read(sample.spec, sample.before)
    found = {server.name: judge(server, WISHES) for server in config.servers}
    assert {name: one.code or "open" for name, one in found.items()} == sample.left
    assert all(one.why for one in found.values() if one.state is not State.OPEN)


@pytest.mark.parametrize("sample", CHANGED, ids=str)
def test_without_a_record_the_meaning_comes_back(sample: Sample) -> None:
    config = read(sample.spec, sample.after)
    wanted = [(server, open_fields(server)) for server in config.servers if server.guard]
    opened = read(sample.spec, edited(config.text, sample.spec.syntax, wanted).text)
    before = read(sample.spec, sample.before)
    for was, now in zip(before.servers, opened.servers, strict=True):
        assert now.guard is None
        assert (now.name, now.words, now.url, now.headers) == (
            was.name,
            was.words,
            was.url,
            was.headers,
        )
        assert now.env == was.env
        usual = (None, Transport.HTTP)  # which of the two it said is not known any more
        assert now.transport == was.transport or {now.transport, was.transport} <= set(usual)


@pytest.mark.parametrize("client", clients().values(), ids=lambda client: client.id)
def test_a_client_says_what_it_is_and_proves_it(client: Client) -> None:
    assert client.name
    assert client.checked
    assert client.source in ("client", "agreed", "reported")
    assert bool(client.files) != bool(client.paste)
    if client.files:
        befores = [sample for sample in CHANGED if sample.client.id == client.id]
        assert befores, "no sample shows what becomes of an entry"
