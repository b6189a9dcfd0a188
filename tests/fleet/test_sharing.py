"""Decisions and definitions that two replicas share, each with its link."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.firewall.finding import PinChange
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.state.contents_key import contents_key
from pipeguard.state.grants import CallGrant, StoredGrants, make_grant, refuse_call
from pipeguard.state.paths import outbox_file, store_file
from pipeguard.state.postgres.database import PostgresStore
from pipeguard.state.postgres.link import Link
from pipeguard.state.recorder import Recorder
from pipeguard.state.replica import REPLICA
from pipeguard.state.shared import read_keys
from pipeguard.state.store import open_store
from pipeguard.state.tokens import (
    TokenReader,
    TokenScope,
    create_token,
    revoke_subject,
    revoke_token,
)
from tests.launch.processes import until
from tests.state.samples import FORECAST, POISONED, held, seen, verdict

NAME = "get_forecast"
KEY = ("tool", NAME)
SEALED = "SELECT sealed FROM keys"
GRANT = CallGrant("a" * 64, "RUN.c1", "weather", NAME, "asked for")


class OneReplica:
    """One replica of a test: its link, and what it knows of a server's pins."""

    def __init__(self, link: Link, name: str) -> None:
        self.link = link
        self.pins: dict[tuple[str, str], Pin] = {}
        REPLICA.link = link
        link.begin()
        self.grants = StoredGrants(store_file())
        self.tokens = TokenReader(link.read_tokens, pytest.fail)
        self.key = contents_key(store_file())
        self.recorder = Recorder(
            store_file(), "weather", name, log=lambda *_, **__: None, pins={}, on_pins=self._take
        )
        self.recorder.start()

    def pin(self, change: PinChange) -> None:
        """Record a definition, as its session decided."""
        self.recorder.record(verdict("RUN.s1", pins=(change,)))

    def trusts(self, definition: dict[str, str] | None) -> bool:
        """True if it has this definition for the trusted one; None for no pin at all."""
        fingerprint = None if definition is None else seen(definition).fingerprint
        pin = self.pins.get(KEY)
        return (pin and pin.approved_fingerprint) == fingerprint

    def close(self) -> None:
        """End what writes, then the link."""
        self.recorder.close()
        self.link.close()

    def _take(self, pins: object) -> None:
        assert isinstance(pins, dict)
        self.pins = pins


@pytest.fixture
def begin(secret: Path) -> Iterator[Callable[[str], OneReplica]]:
    """Begins replicas, which end with the test."""
    begun = list[OneReplica]()

    def begin(address: str) -> OneReplica:
        link = Link(address, read_keys(str(secret)), 60.0, lambda _: None)
        begun.append(OneReplica(link, f"RUN{len(begun)}"))
        return begun[-1]

    yield begin
    for each in begun:
        each.close()


def decide(address: str, work: Callable[[PostgresStore], object]) -> None:
    """Decide as a command does, in a connection of its own."""
    with PostgresStore(address) as store:
        work(store)


def test_first_sight_trusts_once_and_approvals_reach_all(
    begin: Callable[[str], OneReplica], database: str
) -> None:
    one, other = begin(database), begin(database)
    one.pin(seen())
    until(lambda: other.trusts(FORECAST), "the other has the pin")
    until(lambda: one.trusts(FORECAST), "so has the first")
    other.pin(seen(POISONED))  # the other's first sight came before it heard of the pin
    until(lambda: one.pins[KEY].held_fingerprint == held().fingerprint, "the drift is held")
    decide(database, lambda store: store.approve("weather", one.pins[KEY]))
    until(lambda: one.trusts(POISONED) and other.trusts(POISONED), "both have the approval")
    decide(database, lambda store: store.forget("weather", *KEY))
    until(lambda: one.trusts(None) and other.trusts(None), "both have forgotten it")
    with open_store(outbox_file()) as outbox:
        assert outbox.count_pins() == 0


def test_a_grant_is_spent_once_and_refusals_reach_all(
    begin: Callable[[str], OneReplica], database: str
) -> None:
    both = [begin(database), begin(database)]
    assert [each.grants.take(GRANT.mark) for each in both] == ["", ""]
    decide(database, lambda store: make_grant(store, GRANT, "ada"))
    until(lambda: all(each.link.shared.grants for each in both), "both know of the grant")
    assert sorted(each.grants.take(GRANT.mark) for each in both) == ["", GRANT.event]
    assert [each.grants.find_refusal(GRANT.event) for each in both] == ["", ""]
    decide(database, lambda store: refuse_call(store, GRANT, "ada"))
    until(lambda: all(each.grants.find_refusal(GRANT.event) for each in both), "both refuse")


def test_a_revoked_token_ends_on_all(begin: Callable[[str], OneReplica], database: str) -> None:
    both = [begin(database).tokens, begin(database).tokens]
    assert not any(each.are_required() for each in both)
    decide(database, lambda store: create_token(store, "ci", TokenScope()))
    until(lambda: all(each.valid().keys() == {"ci"} for each in both), "both have the token")
    decide(database, partial(revoke_token, name="ci"))
    until(lambda: not any(each.digests() for each in both), "both have the revocation")
    assert all(each.are_required() for each in both)
    decide(database, partial(revoke_subject, sub="auth0|ada"))
    until(lambda: all("auth0|ada" in each.find_revoked() for each in both), "both end sign-ins")


def test_replicas_make_fingerprints_with_one_key(
    begin: Callable[[str], OneReplica], database: str, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = begin(database)
    key, stored = first.key, first.link.run_now(partial(PostgresStore.read, query=SEALED))
    secret.write_bytes(b64encode(bytes(31) + b"1") + b"\n" + secret.read_bytes())
    assert begin(database).key == key
    assert key not in stored[0][0]
    assert first.link.run_now(partial(PostgresStore.read, query=SEALED)) != stored
    secret.write_bytes(secret.read_bytes().split()[0])  # the older key is gone
    REPLICA.link = None
    monkeypatch.setenv("PIPEGUARD_STORE", database)
    monkeypatch.setenv("PIPEGUARD_SECRET_FILE", str(secret))
    assert contents_key(store_file()) == key  # of a command
    secret.write_bytes(b64encode(b"2" * 32))
    with pytest.raises(StateError, match="no key of the secret file opens"):
        begin(database)
