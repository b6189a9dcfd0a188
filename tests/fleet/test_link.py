"""A replica's link to a database that is there, stopped, or frozen."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from pipeguard.errors import StateError
from pipeguard.state.postgres import link as links
from pipeguard.state.postgres.database import PostgresStore
from pipeguard.state.postgres.link import Link
from pipeguard.state.shared import read_keys
from tests.fleet.postgres import Cluster
from tests.launch.processes import until

INSERT = "INSERT INTO dismissals VALUES (?, '') ON CONFLICT (key) DO NOTHING"
MINUTE_SECONDS = 60.0


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def begin(secret: Path, said: list[str]) -> Iterator[Callable[[str], Link]]:
    """Begins links, which end with the test."""
    begun = list[Link]()

    def begin(address: str, outage_seconds: float = MINUTE_SECONDS) -> Link:
        link = Link(address, read_keys(str(secret)), outage_seconds, said.append)
        link.begin()
        begun.append(link)
        return link

    yield begin
    for each in begun:
        each.close()


def insert(key: str) -> Callable[[PostgresStore], int | None]:
    return lambda store: store.write(INSERT, key)


def read_keys_in(link: Link) -> list[str]:
    rows = link.do(lambda store: store.read("SELECT key FROM dismissals ORDER BY key"))
    return [key for (key,) in rows.result(MINUTE_SECONDS)]


def fail(_: PostgresStore) -> int | None:
    raise ValueError("a job of its own")


def test_a_job_that_fails_by_itself_stops_no_other(
    begin: Callable[[str], Link], database: str, said: list[str]
) -> None:
    link = begin(database)
    bad: list[Future[int | None]] = [
        link.do(fail),
        link.do(insert("a\0b")),
        link.do(lambda store: store.write("INSERT INTO dismissals VALUES (NULL, '')")),
        link.do(lambda store: store.write("INSERT INTO pins (server) VALUES (?)", "x" * 99_999)),
        link.do(lambda store: len(store.read("SELECT nothing"))),
    ]
    good = link.do(insert("good"))
    assert good.result(MINUTE_SECONDS) == 1
    assert [type(each.exception(MINUTE_SECONDS)) for each in bad] == [ValueError, *[StateError] * 4]
    assert asyncio.run(link.settle(bad[0])) is None
    assert read_keys_in(link) == ["good"]
    assert said == []


def test_too_much_that_waits_is_refused(
    begin: Callable[[str], Link], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = begin(database)
    monkeypatch.setattr(links, "MOST_BYTES", 10)
    assert isinstance(link.do(insert("long"), length=11).exception(), StateError)
    for number in range(20):
        assert link.do(insert(str(number)), length=10).result(MINUTE_SECONDS) == 1


def test_closing_does_what_waits_and_fails_the_rest(
    begin: Callable[[str], Link], database: str
) -> None:
    link = begin(database)
    waiting = [link.do(insert(str(number))) for number in range(100)]
    link.close()
    assert [each.result(0) for each in waiting] == [1] * 100
    assert isinstance(link.do(insert("late")).exception(0), StateError)
    assert len(read_keys_in(begin(database))) == 100


@pytest.mark.needs("initdb")
@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "stopped"])
def test_what_waits_for_a_database_that_is_away_is_done_later(
    begin: Callable[..., Link], said: list[str], *, is_frozen: bool
) -> None:
    with Cluster() as own:
        link = begin(own.create_database(), 0.5)
        assert link.run_now(insert("before")) == 1
        (own.freeze if is_frozen else own.stop)()
        kept, given_up = link.do(insert("kept")), link.do(insert("dropped"), is_kept=False)
        assert asyncio.run(link.settle(kept)) is None
        until(lambda: link.is_away, "the link notices")
        with pytest.raises(StateError, match="does not answer"):
            link.run_now(insert("not now"))
        assert isinstance(given_up.exception(MINUTE_SECONDS), StateError)
        until(lambda: "not answered" in link.why_out(), "the outage is over")
        (own.thaw if is_frozen else own.start)()
        assert kept.result(MINUTE_SECONDS) == 1
        until(lambda: not (link.is_away or link.why_out()), "the link recovers")
        assert read_keys_in(link) == ["before", "kept"]
        until(lambda: len(said) == 2, "both are told")
        assert "goes on with what it knows" in said[0]
        assert said[1] == "the shared store answers again"


def test_what_waits_for_a_database_that_takes_nothing_is_done_later(
    begin: Callable[..., Link], database: str, said: list[str]
) -> None:
    link = begin(database, 2.0)
    read_only = "ALTER ROLE CURRENT_USER SET default_transaction_read_only = "
    end_others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
    with PostgresStore(database) as store:
        store.write(f"{read_only}on")
        store.read(f"{end_others}current_database() AND pid <> pg_backend_pid()")
        until(lambda: "not answered" in link.why_out(), "nothing was done for too long")
        kept = link.do(insert("kept"))
        until(lambda: link.is_away, "the link notices")
        store.write(f"{read_only}off")
    assert kept.result(MINUTE_SECONDS) == 1
    until(lambda: not link.why_out(), "the link recovers")
    until(lambda: len(said) == 2, "both are told, once")
    assert "read-only" in said[0] or "terminating" in said[0]


def test_a_replica_goes_on_when_a_newer_one_has_completed_the_tables(
    begin: Callable[[str], Link], database: str
) -> None:
    link = begin(database)
    with PostgresStore(database) as store:
        store.write("UPDATE pipeguard SET version = 99")
    link.do(lambda store: store.close()).exception(MINUTE_SECONDS)
    assert link.do(insert("later")).result(MINUTE_SECONDS) == 1
