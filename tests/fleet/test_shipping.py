"""Rows of the audit on their way from a replica's outbox to the shared store."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pipeguard.state.paths import outbox_file, store_file
from pipeguard.state.postgres.database import PostgresStore
from pipeguard.state.postgres.link import Link
from pipeguard.state.recorder import Recorder
from pipeguard.state.replica import REPLICA
from pipeguard.state.shared import read_keys
from pipeguard.state.store import open_store
from tests.fleet.postgres import Cluster
from tests.launch.processes import PATIENCE_SECONDS, until
from tests.state.samples import seen, verdict

ROWS = 2500  # more than two batches
PROGRAM = """
import os, signal, sys, threading
from pipeguard.state.paths import store_file
from pipeguard.state.pins import Store
from pipeguard.state.postgres.link import Link
from pipeguard.state.recorder import Recorder
from pipeguard.state.replica import REPLICA
from pipeguard.state.shared import read_keys
from tests.state.samples import verdict

address, secret, run, count, is_killed = sys.argv[1:]
written, write = threading.Event(), Store.write

def write_or_die(store, statement, *values):
    if statement.startswith("DELETE FROM audit"):
        written.wait()
        os.kill(os.getpid(), signal.SIGKILL)
    return write(store, statement, *values)

if is_killed == "True":
    Store.write = write_or_die
link = REPLICA.link = Link(address, read_keys(secret), 60, print)
link.begin()
recorder = Recorder(store_file(), "weather", run, log=lambda *_, **__: None)
for number in range(int(count)):
    recorder.record(verdict(f"{run}.c{number}"))
recorder.close()
written.set()
link.close()
"""


def start(
    address: str, secret: Path, run: str, count: int = ROWS, *, is_killed: bool = False
) -> "subprocess.Popen[bytes]":
    """Start a replica in a process of its own, which records rows, and ends."""
    words = (address, str(secret), run, str(count), str(is_killed))
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *words], env=environ)


def waiting() -> int:
    with open_store(outbox_file()) as outbox:
        return int(outbox.read("SELECT count(*) FROM audit")[0][0])


def read(address: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(address) as connection:
        return connection.execute(query.encode()).fetchall()


def assert_each_is_there_once(address: str, rows: dict[str, int]) -> None:
    """Compare rows with what runs recorded, and their chains with their rows."""
    counted = read(
        address,
        "SELECT chain, count(*), count(DISTINCT seq), count(DISTINCT event), max(seq) FROM audit"
        " GROUP BY chain",
    )
    assert {row[0]: row[1:] for row in counted} == {run: (n,) * 4 for run, n in rows.items()}
    chains = read(
        address,
        "SELECT number, chains.chain, count(*), min(replica) FROM chains JOIN audit"
        " ON audit.chain = chains.chain AND seq = length AND hash = head"
        " GROUP BY 1, 2 ORDER BY 1",
    )
    assert [(chain[0], chain[2]) for chain in chains] == [(n + 1, 1) for n in range(len(rows))]
    assert len({chain[3] for chain in chains}) == 1


def test_what_a_killed_replica_sent_and_did_not_delete_is_there_once(
    database: str, secret: Path
) -> None:
    for run in ("FIRST", "AGAIN"):
        killed = start(database, secret, run, is_killed=True)
        assert killed.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    assert waiting() == 2 * ROWS
    assert start(database, secret, "LAST").wait(PATIENCE_SECONDS) == 0
    assert waiting() == 0
    assert_each_is_there_once(database, {"FIRST": ROWS, "AGAIN": ROWS, "LAST": ROWS})


def test_processes_that_share_a_folder_send_each_row_once(database: str, secret: Path) -> None:
    both = [start(database, secret, run) for run in ("LEFT", "RIGHT")]
    assert [each.wait(PATIENCE_SECONDS) for each in both] == [0, 0]
    assert waiting() == 0
    assert_each_is_there_once(database, {"LEFT": ROWS, "RIGHT": ROWS})


@pytest.mark.needs("initdb")
def test_recording_goes_on_while_the_database_is_frozen(secret: Path) -> None:
    with Cluster() as own:
        address = own.create_database()
        link = REPLICA.link = Link(address, read_keys(str(secret)), 60.0, lambda _: None)
        link.begin()
        own.freeze()
        recorder = Recorder(store_file(), "weather", "FROZEN", log=lambda *_, **__: None, pins={})
        for number in range(ROWS):
            recorder.record(verdict(f"FROZEN.c{number}", pins=() if number else (seen(),)))
        recorder.close()
        assert (recorder.healthy, recorder.missing, waiting()) == (True, 0, ROWS)
        own.thaw()
        until(lambda: not waiting(), "all rows are sent")
        with PostgresStore(address) as store:
            until(lambda: bool(store.pins("weather")), "the pin is stored")
        link.close()
        assert_each_is_there_once(address, {"FROZEN": ROWS})
