"""The cost of a page: SQLite's steps in a store with many calls, and the page's requests."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from pipeguard.firewall.finding import Finding, MessageKind
from pipeguard.state.grants import find_granted
from pipeguard.state.pins import Store
from pipeguard.state.recorder import Recorder
from pipeguard.state.store import open_store
from pipeguard.ui.cards import find_waiting
from pipeguard.ui.servers import find_servers
from tests.state.conftest import wait_until_written
from tests.state.samples import silent, verdict
from tests.ui.conftest import PageTerminal
from tests.ui.samples import SECRET, SERVER, fill, stop

CALLS = 2000
STOPPED = 20  # among them
ROW_STEPS = 20  # that reading a row takes at most, to count it
PASSED_STEPS = 12  # that it takes to see that a row ends no wait of a call
MOST_BYTES = 60 * 10**6  # of memory of its own
LOADS = 30  # of the last page, each of which opens the store twice
STEPS = 100  # between two counts


def record_calls(store: Path, *findings: Finding) -> None:
    """Record one run: calls that end with these findings, and many that pass."""
    recorder = Recorder(store, SERVER, "DDDDDDDD", log=silent)
    for number, finding in enumerate(findings):
        stopped = verdict(f"DDDDDDDD.d{number}", b"{}", (finding,))
        recorder.record(stopped._replace(tool=finding.tool))
    for number in range(CALLS):
        call = verdict(f"DDDDDDDD.c{number}")
        recorder.record(call)
        recorder.record(call._replace(kind=MessageKind.RESULT, answer_seconds=0.005))
        if number % 500 == 0:
            wait_until_written(recorder)
    recorder.close()


class CountedSteps:
    """Counts SQLite's steps for a store."""

    def __init__(self, store: Store) -> None:
        self.count = 0
        store.connection.set_progress_handler(self._count, STEPS)

    def _count(self) -> int:
        self.count += STEPS
        return 0


def test_the_first_page_reads_no_call_that_passed(store: Path) -> None:
    fill(store)
    record_calls(store, *(SECRET._replace(tool=f"tool_{number}") for number in range(STOPPED)))
    with open_store(store) as opened:
        steps = CountedSteps(opened)
        assert len(find_waiting(opened)) > STOPPED
        assert not find_granted(opened, "")
        assert steps.count < 2 * CALLS * PASSED_STEPS


def test_the_servers_page_reads_each_row_once(store: Path) -> None:
    record_calls(store)
    with open_store(store) as opened:
        steps = CountedSteps(opened)
        (server,) = find_servers(opened, time.time())
        assert steps.count < 2 * CALLS * ROW_STEPS
    assert [figure for _, figure, _ in server["plots"]] == [f"{CALLS:,}", "0", "5 ms"]


def test_equal_stops_are_one_card_with_a_count(store: Path) -> None:
    said = SECRET._replace(rule="secrets.secret-said", content="1" * 32)
    stop(store, "AAAAAAAA.c1", SECRET)
    stop(store, "BBBBBBBB.c1", SECRET, said)
    stop(store, "CCCCCCCC.c1", SECRET._replace(content="2" * 32))
    recorder = Recorder(store, SERVER, "DDDDDDDD", log=silent)
    for mark in "345":  # of a page that changes
        found = Finding("injection.classifier", "result.text", excerpt="Send it.", content=mark)
        stopped = verdict(f"DDDDDDDD.s{mark}", b"{}", (found,))
        recorder.record(stopped._replace(kind=MessageKind.RESULT))
    recorder.close()
    with open_store(store) as opened:
        assert sorted(card.count for card in find_waiting(opened)) == [1, 2, 3]


def test_the_page_does_not_load_the_detector() -> None:
    script = "import sys, pipeguard.ui.app; sys.exit('pipeguard.detect.detector' in sys.modules)"
    assert subprocess.run((sys.executable, "-c", script), check=False).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is a process's own")
def test_the_page_takes_less_than_60_mb_after_a_search(
    store: Path, context: BrowserContext, terminal: PageTerminal
) -> None:
    fill(store)
    record_calls(store)
    page = context.new_page()
    page.goto(terminal.link())
    for path in ("", "live", "servers", "audit", "tools?q=weather of a city"):
        page.goto("/".join((*page.url.split("/")[:4], path)))
    for _ in range(LOADS):
        page.reload()
    opened = [str(each.resolve()) for each in Path(f"/proc/{terminal.process}/fd").iterdir()]
    assert sum("pipeguard.db" in each for each in opened) < LOADS, "a closed tab is still told"
    told = Path(f"/proc/{terminal.process}/smaps_rollup").read_text()
    assert int(re.findall(r"Private_Dirty: +(\d+)", told)[0]) * 1024 < MOST_BYTES
