"""Replicas, PostgreSQL and HAProxy as real processes, under load while parts of them fail."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import sleep, time

import pytest

from tests.fleet.load import Load, count_calls, describe
from tests.fleet.postgres import Cluster
from tests.fleet.replicas import Fleet, balance
from tests.launch.processes import until

pytestmark = [
    *map(pytest.mark.needs, ("initdb", "haproxy")),
    pytest.mark.long,
    pytest.mark.timeout(600),  # some 15 s each
]
SIZE = 3
AWAY_SECONDS = 4.0
MOST_SECONDS = 30.0  # of any call, on a machine with other work
DRAIN = ("--drain", "3")


@pytest.fixture
def own() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


def test_a_killed_replica_fails_only_its_calls_in_flight(database: str, tmp_path: Path) -> None:
    kills: list[tuple[float, float]] = []
    with ExitStack() as stack:
        fleet = stack.enter_context(Fleet(tmp_path / "fleet", database, SIZE, options=DRAIN))
        address = stack.enter_context(balance(tmp_path / "haproxy", "haproxy", fleet.addresses))
        with Load(address, tmp_path, may_fail=True) as load:
            for number in range(SIZE):
                began = time()
                fleet.kill(number)
                kills.append((began, time()))
                load.grow()
                fleet.start(number)
                fleet.await_ready(number)
                load.grow()
        print(describe(load.calls))
        assert_each_ran_once(fleet, load)
        for call in load.failed:
            assert any(call.began <= killed and call.ended >= kill for kill, killed in kills), call
        assert fleet.run("audit", "verify").returncode == 0


def test_a_rolling_restart_loses_no_call(database: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        fleet = stack.enter_context(Fleet(tmp_path / "fleet", database, SIZE, options=DRAIN))
        address = stack.enter_context(balance(tmp_path / "haproxy", "haproxy", fleet.addresses))
        with Load(address, tmp_path) as load:
            for number in range(SIZE):
                fleet.stop(number)
                load.grow()
                fleet.start(number)
                fleet.await_ready(number)
                load.grow()
        print(describe(load.calls))
        assert load.failed == []
        assert_each_ran_once(fleet, load)
        assert_audit(fleet)


def test_calls_go_on_without_the_database(own: Cluster, tmp_path: Path) -> None:
    """It is stopped, and then frozen: its connections stay, and nothing is answered."""
    with ExitStack() as stack:
        database = own.create_database()
        fleet = stack.enter_context(Fleet(tmp_path / "fleet", database, SIZE))
        address = stack.enter_context(balance(tmp_path / "haproxy", "haproxy", fleet.addresses))
        with Load(address, tmp_path) as load:
            own.stop()
            wait_out(load)
            own.start()
            load.grow()
            own.freeze()
            wait_out(load)
            own.thaw()
            load.grow()
        print(describe(load.calls))
        assert load.failed == []
        assert max(call.ended - call.began for call in load.calls) < MOST_SECONDS
        assert_each_ran_once(fleet, load)
        assert_audit(fleet)


def wait_out(load: Load) -> None:
    """Let an outage last for some seconds, in which all clients go on."""
    end = time() + AWAY_SECONDS
    while time() < end:
        load.grow()
        sleep(0.1)


def assert_each_ran_once(fleet: Fleet, load: Load) -> None:
    """Each call that was answered ran once, and each that failed once or never."""
    ran = count_calls(fleet.calls)
    assert {name: number for name, number in ran.items() if number != 1} == {}
    answered = {call.name for call in load.calls if call.error is None}
    assert answered - ran.keys() == set()
    assert ran.keys() - {call.name for call in load.calls} == set()


def assert_audit(fleet: Fleet) -> None:
    """The shared store has one row for each call that ran, and its chains are whole."""
    ran = count_calls(fleet.calls)
    until(lambda: fleet.count_rows() >= len(ran), "all rows have arrived")
    assert fleet.count_rows() == len(ran)
    verified = fleet.run("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
